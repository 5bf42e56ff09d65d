"""Sessions: tests, benchmarks, lint, types, documentation. `nox -s NAME` takes one; `nox` most of them."""

import nox

nox.options.sessions = ["lint", "types", "tests", "bench", "docs"]
nox.options.default_venv_backend = "uv|virtualenv"

TORCH_VERSIONS = ["2.9.1", "2.13.0", "2.15.0"]


@nox.session
def tests(session: nox.Session) -> None:
    """Run the test suite."""
    session.install("-e", ".[dev]")
    session.run("pytest", *session.posargs)


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
@nox.parametrize("torch", TORCH_VERSIONS)
def torch_versions(session: nox.Session, torch: str) -> None:
    """Run the default benchmarks on one torch version each: what a pruned model loses from one to the next.

    For a workload that trains no dense model itself give yours: -- --workload cifar10 --data PATH --checkpoint PATH.
    """
    session.install(f"torch=={torch}", "-e", ".")
    cache = session.cache_dir.absolute() / "prunebench"  # one dense model for all, which no other session then finds
    session.run(
        "pytest",
        "benchmarks/",
        f"--benchmark-save=torch-{torch}",
        *session.posargs,
        env={"PRUNEBENCH_CACHE": str(cache)},
    )


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
    session.run("coverage", "report")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation as a site in site/: a dead link or a page that does not fit fails."""
    session.install("-e", ".[docs]")
    session.run("mkdocs", "build", "--strict", *session.posargs)
