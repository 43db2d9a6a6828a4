"""The parts of the build that pyproject.toml cannot say."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

RECIPES = Path("momentum_cli", "recipes")


class Library(build_ext):
    """The kernel: a plain library that ctypes loads, so its name carries no version of Python."""

    def get_ext_filename(self, fullname: str) -> str:
        """Return the path of the library, without the tag that Python gives to modules of its own."""
        # The same name in every mode: an editable installation builds in one and copies in another.
        path = Path(super().get_ext_filename(fullname))
        return str(path.with_name(path.name.partition(".")[0] + path.suffix))


class Modules(build_py):
    """The modules, and the recipes that lie next to the package in the source tree and inside it once installed.

    A mapping in ``package-dir`` would do the same, but then an editable installation is an import hook, which type
    checkers cannot follow, instead of a path.
    """

    def run(self) -> None:
        """Copy everything into the folder of the build."""
        super().run()
        if not self.editable_mode:
            shutil.copytree("recipes", Path(self.build_lib, RECIPES), dirs_exist_ok=True)


class Wheel(bdist_wheel):
    """A wheel for every Python 3."""

    def get_tag(self) -> tuple[str, str, str]:
        """Return the tag: one platform when the kernel was compiled, any platform when there was no compiler."""
        built = any(Path(file).exists() for file in self.get_finalized_command("build_ext").get_outputs())
        return "py3", "none", super().get_tag()[2] if built else "any"


setup(cmdclass={"build_ext": Library, "build_py": Modules, "bdist_wheel": Wheel})
