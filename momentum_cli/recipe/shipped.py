"""Recipe files: those that come with the package, by name, and those of the user, by path."""

from __future__ import annotations

from pathlib import Path

from momentum_cli.errors import RecipeError
from momentum_cli.messages import allowed_names, did_you_mean, refuse


def find_recipe(name_or_path: str | Path) -> Path:
    """Return the file of a recipe: the path itself if it exists, else the shipped recipe of that name.

    Raises:
        RecipeError: There is neither; the message suggests the nearest shipped recipe.
    """
    try:
        path = Path(name_or_path).expanduser()
    except RuntimeError as error:
        raise RecipeError(f"{name_or_path}: {error}; give the path without ~") from error
    if path.is_file():
        return path
    shipped = shipped_recipes()
    name = str(name_or_path)
    stem = name.removesuffix(".yaml").removesuffix(".yml")
    if stem in shipped:
        return shipped[stem]
    listed = allowed_names(stem, list(shipped), "momentumrnn recipes list")
    if not name:
        raise RecipeError(refuse("a recipe", name, "be a file or a name", listed))
    if path.is_dir():
        if (path / "recipe.yaml").is_file():
            raise RecipeError(f"{name} is a run folder; its recipe is {path / 'recipe.yaml'}")
        raise RecipeError(f"{name} is a folder, not a recipe ({listed})")
    hint = did_you_mean(stem, shipped) or did_you_mean(path.stem, shipped)
    raise RecipeError(f"{name}: no such file or shipped recipe{hint} ({listed})")


def shipped_recipes() -> dict[str, Path]:
    """Return the recipes that come with the package, name -> file; names in folders are `FOLDER/NAME`."""
    folder = shipped_folder()
    names = {file.relative_to(folder).with_suffix("").as_posix(): file for file in folder.rglob("*.yaml")}
    return dict(sorted(names.items()))


def shipped_folder(package: Path = Path(__file__).parents[1]) -> Path:
    """Return the folder of the shipped recipes: inside an installed package, next to the package in a source tree.

    Raises:
        RecipeError: There is neither: the installation is incomplete.
    """
    for folder in (package / "recipes", package.parent / "recipes"):
        if folder.is_dir():
            return folder
    raise RecipeError(f"{package / 'recipes'}: the shipped recipes are missing; reinstall momentumrnn")


def copy_recipe(recipe: str | Path, destination: Path | None = None, *, overwrite: bool = False) -> Path:
    """Copy a recipe, comments included.

    Args:
        recipe: A shipped recipe's name or a path.
        destination: A file or a folder; None for the current folder.
        overwrite: Replace an existing file.

    Returns:
        The file written.

    Raises:
        RecipeError: The recipe does not exist, or the file already exists or cannot be written.
    """
    from momentum_cli.reading import read_text
    from momentum_cli.recipe.document import ENDINGS, MAX_BYTES
    from momentum_cli.runs.files import write_text
    from momentum_cli.runs.output import check_output_file

    source = find_recipe(recipe)
    target = destination or Path()
    if target.is_dir():
        target /= source.name
    if target.exists() and not overwrite:
        raise RecipeError(f"{target}: exists; name another file, or --overwrite to replace it")
    check_output_file(target, "DESTINATION", ENDINGS)
    write_text(target, read_text(source, MAX_BYTES))
    return target
