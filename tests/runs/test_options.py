"""Options: overrides, suggestions, config files."""

import dataclasses
import json

import pytest

from rfsq_jax.runs.options import parse, parse_with_file
from rfsq_jax.runs.results import write_results
from rfsq_jax.runs.terminal import format_table
from tests.support.commands import refusal


@dataclasses.dataclass(frozen=True)
class Inner:
    steps: int = 10

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")


@dataclasses.dataclass(frozen=True)
class Outer:
    inner: Inner = Inner()
    name: str = "a"


def test_options_override_defaults():
    config = parse(
        Outer, ["--inner.steps", "3"], command="eval.x", description="x", default=Outer(name="b")
    )
    assert config == Outer(Inner(3), "b")


def test_an_unknown_option_is_refused_with_a_suggestion(capsys):
    with pytest.raises(SystemExit) as error:
        parse(Outer, ["--inner.stps", "3"], command="eval.x", description="x")
    assert error.value.code == 2
    printed = capsys.readouterr().err
    assert "--inner.stps" in printed
    assert "--inner.steps" in printed


def test_a_bad_value_says_what_is_wrong(capsys):
    with pytest.raises(SystemExit) as error:
        parse(Outer, ["--inner.steps", "0"], command="eval.x", description="x")
    assert error.value.code == 2
    assert capsys.readouterr().err == "eval.x: steps must be at least 1, got 0\n"


def config_file(folder, body):
    path = folder / "run.py"
    path.write_text(body)
    return str(path)


def test_a_config_file_gives_the_defaults(tmp_path):
    body = "def get_config():\n    return Outer(name='c')\n"
    path = config_file(tmp_path, f"from tests.runs.test_options import Outer\n\n{body}")
    for arguments in (["--config", path], [f"--config={path}"]):
        config = parse_with_file(
            Outer, [*arguments, "--inner.steps", "4"], command="eval.x", description="x"
        )
        assert (config.name, config.inner.steps) == ("c", 4)
    assert parse_with_file(Outer, [], command="eval.x", description="x") == Outer()


def test_a_missing_or_wrong_config_file_is_named(tmp_path, capsys):
    def refused(*arguments):
        def main(options):
            parse_with_file(Outer, options, command="eval.x", description="x")

        return refusal(main, arguments, capsys)

    assert "does not exist" in refused("--config", str(tmp_path / "none.py"))
    assert "--config must be followed by a file name" in refused("--config")
    path = config_file(tmp_path, "def get_config():\n    return 3\n")
    assert refused("--config", path).endswith("test_options.Outer, got 3")


def test_results_say_how_they_were_made(tmp_path):
    path = write_results(tmp_path, figures={"mse": 0.5}, config=Outer())
    content = json.loads(path.read_text())
    assert content["figures"] == {"mse": 0.5}
    assert content["config"] == {"inner": {"steps": 10}, "name": "a"}
    assert content["versions"]["jax"]
    assert content["machine"]["cores"] > 0


def test_tables_are_aligned():
    table = format_table(["name", "value"], [["a", "1"], ["long", "100"]])
    assert table == "name  value\n----  -----\na         1\nlong    100"
    with pytest.raises(ValueError, match="2 cells, got 1"):
        format_table(["name", "value"], [["a"]])
