"""Train, evaluate, benchmark and export recurrent models whose cells carry momentum."""
