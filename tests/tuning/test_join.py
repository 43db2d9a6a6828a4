"""Several processes on one study, in a folder and in real databases; one of them is killed."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from small_bench import write_recipe

from momentum_cli.errors import DataError, MomentumError, RecipeError
from momentum_cli.tuning.storage import close_storage, open_database, open_journal
from momentum_cli.tuning.tune import tune

TRIALS = 9
_INSTALLED = [shutil.which("pg_ctl"), *sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), reverse=True)]
BIN = next((Path(path).parent for path in _INSTALLED if path is not None), None)


SERVER, INSTALLER = (
    shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    for name in ("mariadbd", "mariadb-install-db")
)


def recipe_of(folder: Path) -> str:
    path = Path(write_recipe(folder, train="{max_steps: 8, batch_size: 16, eval_every_n_steps: 4, seed: 0}"))
    path.write_text(f"{path.read_text()}\ntune: {{space: {{optimizer.lr: {{log: [1e-3, 1e-1]}}}}, trials: {TRIALS}}}\n")
    return str(path)


@pytest.fixture
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL server that ends with the test and listens on no port."""
    if BIN is None:
        pytest.skip("no PostgreSQL server (Debian: apt install postgresql)")
    user = "postgres" if os.getuid() == 0 else None  # it does not run as root
    folder = Path(tempfile.mkdtemp(prefix="momentumrnn-pg-"))
    if user is not None:
        shutil.chown(folder, user)
    data = folder / "data"
    quiet = {"user": user, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    try:
        subprocess.run([BIN / "initdb", "-D", data, "-U", "tester", "-A", "trust", "-N"], check=True, **quiet)  # type: ignore[call-overload]
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        start = [BIN / "pg_ctl", "-D", data, "-w", "-o", options, "-l", folder / "log"]
        subprocess.run([*start, "start"], check=True, **quiet)  # type: ignore[call-overload]
        try:
            yield f"postgresql://tester@/postgres?host={folder}"
        finally:
            subprocess.run([BIN / "pg_ctl", "-D", data, "-m", "immediate", "stop"], check=True, **quiet)  # type: ignore[call-overload]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def mysql() -> Iterator[str]:
    """The URL of a MariaDB server, which speaks MySQL's protocol; it ends with the test and listens on no port."""
    if SERVER is None or INSTALLER is None:
        pytest.skip("no MariaDB server (Debian: apt install mariadb-server)")
    pytest.importorskip("pymysql", reason="no pymysql (pip install pymysql)")
    folder = Path(tempfile.mkdtemp(prefix="momentumrnn-my-"))
    data, socket = folder / "data", folder / "socket"
    # It runs as root only if told to, and reads no configuration of this machine.
    common = ["--no-defaults", f"--datadir={data}", f"--user={pwd.getpwuid(os.getuid()).pw_name}"]
    try:
        install = [INSTALLER, *common, "--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(install, check=True, capture_output=True, cwd=folder)
        with (folder / "log").open("wb") as log:
            start = [SERVER, *common, f"--socket={socket}", "--skip-networking", f"--pid-file={folder}/pid"]
            server = subprocess.Popen(start, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
        try:
            end = time.monotonic() + 60
            while not socket.exists():
                assert server.poll() is None, (folder / "log").read_text(encoding="utf-8")
                assert time.monotonic() < end, (folder / "log").read_text(encoding="utf-8")
                time.sleep(0.1)
            import pymysql

            with pymysql.connect(unix_socket=str(socket), user="root") as connection, connection.cursor() as cursor:
                cursor.execute("CREATE DATABASE study")
            yield f"mysql://root@localhost/study?unix_socket={socket}"
        finally:
            server.terminate()
            server.wait(60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def counted(place: str, recipe: str, folder: Path) -> int:
    """Let three workers make the trials, one of them killed, and check that each counts once."""
    driver = Path(__file__).parents[1] / "joined_tunes.py"
    done = subprocess.run(
        [sys.executable, driver, place, recipe, folder], capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["statuses"] == [-signal.SIGKILL, 0, 0], done.stderr
    assert report["found"] == [list(range(TRIALS))] * 2
    storage = open_database(place) if "://" in place else open_journal(Path(place))
    (summary,) = optuna.get_all_study_summaries(storage)
    trials = optuna.load_study(study_name=summary.study_name, storage=storage).get_trials(deepcopy=False)
    told = [trial for trial in trials if "facts" in trial.user_attrs and trial.state.is_finished()]
    assert Counter(trial.user_attrs["place"] for trial in told) == Counter(range(TRIALS))
    close_storage(storage)
    # The trial of the dead one was given back, and begun again with the same value by a worker that lived. On a busy
    # machine a living one may miss its beats, too: then its trial has another worker, and counts once all the same.
    again = [(trials[trial.user_attrs["continues"]], trial) for trial in told if "continues" in trial.user_attrs]
    lost = [(before, after) for before, after in again if before.user_attrs["worker"]["host"] == "machine0"]
    assert len(lost) == 1
    assert all(after.user_attrs["worker"]["host"] != "machine0" for _, after in lost)
    assert all(after.params == before.params for before, after in again)
    runs = [Path(trial.user_attrs["facts"]["folder"]) for trial in told]
    assert all((run / "result.json").is_file() for run in runs)
    return len(set(runs))


@pytest.mark.slow
def test_three_workers_on_a_folder_one_killed(tmp_path: Path) -> None:
    assert counted(str(tmp_path / "study"), recipe_of(tmp_path), tmp_path / "runs") == TRIALS
    assert (tmp_path / "study" / "best.yaml").is_file()


@pytest.mark.slow
def test_three_workers_on_sqlite_one_killed(tmp_path: Path) -> None:
    assert counted(f"sqlite:///{tmp_path}/study.db", recipe_of(tmp_path), tmp_path / "runs") == TRIALS


@pytest.mark.slow
def test_three_workers_on_postgresql_one_killed(tmp_path: Path, postgresql: str) -> None:
    assert counted(postgresql, recipe_of(tmp_path), tmp_path / "runs") == TRIALS


@pytest.mark.slow
def test_three_workers_on_mysql_one_killed(tmp_path: Path, mysql: str) -> None:
    assert counted(mysql, recipe_of(tmp_path), tmp_path / "runs") == TRIALS


@pytest.mark.parametrize(
    ("url", "module", "package"),
    [
        ("mysql://me:secret@host/x", "pymysql", "pymysql"),
        ("postgresql://me:secret@host/x", "psycopg", r"'psycopg\[binary\]'"),
    ],
)
def test_the_package_of_a_database_is_named(
    monkeypatch: pytest.MonkeyPatch, url: str, module: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RecipeError, match=f"needs another package; install it by: pip install {package}") as error:
        open_database(url)
    assert "secret" not in str(error.value)


@pytest.mark.slow
def test_a_database_is_joined_without_a_recipe_and_holds_several_studies(tmp_path: Path) -> None:
    url, recipe = f"sqlite:///{tmp_path}/study.db", recipe_of(tmp_path)
    with pytest.raises(MomentumError, match="there is no study yet"):
        tune(None, join=url)
    first = tune(recipe, join=url, trials=1, out=tmp_path / "a")
    again = tune(None, join=url, trials=2, out=tmp_path / "b")
    assert again["trials"][0] == first["trials"][0]
    assert Path(again["trials"][1]["folder"]).is_relative_to(tmp_path / "b")
    tune(recipe, join=url, trials=1, sampler="qmc", out=tmp_path / "c")
    with pytest.raises(MomentumError, match=r"several studies \(small-.*, small-.*\); give the RECIPE"):
        tune(None, join=url)


def test_what_cannot_be_opened_is_refused_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be opened") as error:
        open_database("postgresql://me:secret@/x?host=/nosuch/folder&connect_timeout=2")
    assert "secret" not in str(error.value)
    (tmp_path / "text.db").write_text("no database\n" * 100)
    with pytest.raises(DataError, match="cannot be opened"):
        open_database(f"sqlite:///{tmp_path}/text.db")
    for url, words in [("oracel://x", "no database of the kind"), ("://", "must be a folder or the URL")]:
        with pytest.raises(MomentumError, match=words):
            open_database(url)
