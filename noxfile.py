"""Sessions: `nox` runs lint, types, tests, bench and docs; versions and speed are asked for by name, `nox -s NAME`."""

import shutil
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests", "bench", "docs"]
nox.options.default_venv_backend = "uv|virtualenv"

TORCH = {"2.9.1": "0.24.1", "2.11.0": "0.26.0", "2.13.0": "0.28.0", "2.15.0": "0.29.2"}
"""torch -> torchvision: the oldest supported, two between, the newest. The only place that says so."""

PYTHONS = nox.project.python_versions(nox.project.load_toml("pyproject.toml"))
"""Those that the package's classifiers name."""

QUICK = ["tests/pruning", "tests/gate", "tests/records", "tests/measure", "tests/test_pipeline.py"]
"""Tests that reach most of what depends on versions, in a few minutes."""

BOUNDED = [
    "tests/report/test_plots.py",  # matplotlib, pillow
    "tests/report/test_escaping.py",  # jinja2, markdown-it-py, pydantic
    "tests/report/test_page.py",  # playwright, axe
    "tests/export",  # onnx, onnxruntime, onnxscript
    "tests/latency",  # openvino
    "tests/packing",  # zstandard, constriction
    "tests/planning/test_search.py",  # cma
    "tests/shrink",  # torch-pruning
    "tests/data",  # pyarrow, scikit-learn, scipy, torchvision
    "tests/models",  # safetensors, timm
    "tests/plugin/test_toml_plugin.py",  # pytest-benchmark
    "tests/test_progress.py",  # tqdm
    "tests/test_package.py",  # hatchling
    "tests/test_github.py",  # PyYAML
    "tests/test_ray.py",
]
"""Tests of what else has a lower bound; beside each, whose."""

LONG = ["tests/faults", "tests/test_oracle.py"]

ON_ALL_CORES = ["--numprocesses=logical", "--dist=loadfile", "--no-loadscope-reorder", "--durations=15"]
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""Of each of the processes that share the tests."""

DIST = Path("dist")
FORMS = {"wheel": "*.whl", "sdist": "*.tar.gz"}


@nox.session
def tests(session: nox.Session) -> None:
    """Run the test suite, a part of it on each core."""
    session.install("-e", ".[dev]")
    session.run("pytest", *ON_ALL_CORES, *session.posargs, env=ONE_THREAD)


@nox.session
def long_tests(session: nox.Session) -> None:
    """Run the tests that take minutes, which the whole suite skips or cuts short."""
    session.install("-e", ".[dev]")
    session.run("pytest", *ON_ALL_CORES, *(session.posargs or LONG), env=ONE_THREAD)


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks: nox -s bench -- --workload cifar10 --benchmark-save=NAME."""
    session.install("-e", ".")
    session.run("pytest", "benchmarks/", *session.posargs)


@nox.session
def speed(session: nox.Session) -> None:
    """Measure speed beside what a user would run instead: nox -s speed -- --speed-report docs/measurements/speed.md."""
    session.install("-e", ".")
    session.run("pytest", "benchmarks/speed", *session.posargs)


@nox.session
@nox.parametrize("torch", list(TORCH))
def torch_versions(session: nox.Session, torch: str) -> None:
    """Run the default benchmarks on each torch version, from one dense model; torch_table then says what changed.

    For a workload that trains no dense model itself give yours: -- --workload cifar10 --data PATH --checkpoint PATH.
    """
    session.notify("torch_table", posargs=[])  # first: a version that fails is one that the table has to show
    session.install(f"torch=={torch}", f"torchvision=={TORCH[torch]}", "-e", ".[pack]")
    cache = session.cache_dir.absolute() / "prunebench"  # one dense model for all, which no other session then finds
    session.run(
        "pytest",
        "benchmarks/",
        f"--benchmark-save=torch-{torch}",
        f"--prunebench-records={_records(torch)}",
        *session.posargs,
        env={"PRUNEBENCH_CACHE": str(cache)},
    )


@nox.session
def torch_table(session: nox.Session) -> None:
    """Compare what torch_versions kept: nox -s torch_table -- --markdown FILE."""
    session.install("-e", ".")
    folders = [_records(torch) for torch in TORCH]
    session.run(
        "prunebench", "compare", "--across", *session.posargs, *(each for each in folders if Path(each).is_dir())
    )


@nox.session(python=PYTHONS)
def pythons(session: nox.Session) -> None:
    """Run a quick part of the tests on each Python."""
    session.install("-e", ".[dev]")
    session.run("pytest", *ON_ALL_CORES, *(session.posargs or QUICK), env=ONE_THREAD)


@nox.session(venv_backend="uv")
def minimums(session: nox.Session) -> None:
    """Run a part of the tests, and build the site, with every lower bound of pyproject.toml installed at once."""
    session.install("--resolution=lowest-direct", "-e", ".[dev,docs]")
    needed = nox.project.load_toml("pyproject.toml")["project"]["dependencies"]
    session.install("--no-deps", *(each.replace(">=", "==") for each in needed))  # nox itself asks for newer ones
    session.run("pytest", *ON_ALL_CORES, *(session.posargs or QUICK + BOUNDED), env=ONE_THREAD)
    session.run("mkdocs", "build", "--strict")


@nox.session
def package(session: nox.Session) -> None:
    """Build wheel and sdist and check what is in them; installed() then tries each in a clean environment."""
    session.install("build", "twine", "check-wheel-contents")
    shutil.rmtree(DIST, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(DIST))
    session.run("twine", "check", "--strict", *map(str, DIST.iterdir()))
    session.run("check-wheel-contents", *map(str, DIST.glob("*.whl")))
    for form in FORMS:
        session.notify(f"installed(form='{form}')", posargs=session.posargs)


@nox.session
@nox.parametrize("form", list(FORMS))
def installed(session: nox.Session, form: str) -> None:
    """Run the documented runs and a stranger's TOML from what package() built, in an empty folder of its own."""
    (built,) = DIST.glob(FORMS[form])
    session.install(str(built))
    stranger = Path("tests/package").absolute()
    folder = Path(session.create_tmp()).absolute()
    shutil.rmtree(folder)
    shutil.copytree(stranger, folder / "stranger")
    session.chdir(folder)
    session.run("prunebench", "bench", *(session.posargs or ["--workload", "digits", "--benchmark-disable"]))
    session.run("prunebench", "init")
    session.run("prunebench", "check")
    session.run("prunebench", "run", "half")
    session.run("pytest", "prunebench.toml")
    session.chdir(folder / "stranger")
    session.run("prunebench", "check")
    session.run("pytest", "prunebench.toml")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting, the layers of the house, and the documents' claims."""
    session.install("-e", ".[dev]")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")
    session.run("prunebench", "lint")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    session.install("-e", ".[dev]")
    session.run("mypy")


@nox.session
def coverage(session: nox.Session) -> None:
    """Measure which lines and branches the tests reach."""
    session.install("-e", ".[dev]")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "combine")
    session.run("coverage", "report", *(["--fail-under=0"] if session.posargs else []))  # the floor is of all tests


@nox.session
def mutation(session: nox.Session) -> None:
    """Plant random changes into the code, and say which of them no test notices: nox -s mutation -- --sample 60."""
    session.install("-e", ".[dev,mutation]")
    session.run("python", "benchmarks/studies/mutants.py", *session.posargs, env={"CI": "true", "OMP_NUM_THREADS": "1"})


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation as a site in site/: a dead link or a page that does not fit fails."""
    session.install("-e", ".[docs]")
    session.run("mkdocs", "build", "--strict", *session.posargs)


def _records(torch: str) -> str:
    return f".prunebench/torch/{torch}"
