"""The command line: every command explains itself, and errors end with the documented codes."""

import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata

import click
import pytest
import typer
from typer.testing import CliRunner

from edge_agent import __version__, cli
from edge_agent.cli import COMMANDS, EXIT_CONFIG, EXIT_FAILED
from edge_agent.domain.faults import ConfigError, Transient


def leaves(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command that does something, as words of the command line."""
    children = getattr(command, "commands", None)
    if not children:
        yield words
        return
    for name, child in children.items():
        yield from leaves(child, (*words, name))


runner = CliRunner()
ALL = list(leaves(typer.main.get_command(cli.build())))


def test_every_command_of_the_table_is_there() -> None:
    assert {words[0] for words in ALL} == set(COMMANDS)


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_shows_an_example(words: tuple[str, ...]) -> None:
    command = typer.main.get_command(cli.build(words[0]))
    for word in words:
        assert isinstance(command, click.Group) or hasattr(command, "commands")
        command = command.commands[word]
    text = command.get_help(click.Context(command, info_name=" ".join(words)))
    assert "Example" in text
    assert f"edge-agent {' '.join(words)}" in " ".join(text.split())


def test_the_programs_own_help_lists_the_commands_and_the_exit_codes() -> None:
    told = runner.invoke(cli.build(), ["--help"])
    assert told.exit_code == 0
    assert [name for name in COMMANDS if f"  {name} " not in told.stdout] == []
    assert "Exit codes: 0 done; 1 failed (the message says what); 2 wrong usage; 78" in told.stdout


def test_version() -> None:
    program = [sys.executable, "-m", "edge_agent.cli", "--version"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, f"edge-agent {__version__}\n")
    assert metadata.version("edge-agent") == __version__


@pytest.mark.parametrize("words", [("nonsense",), ("check", "--nonsense"), ("config", "copy", "only-one")])
def test_wrong_usage_ends_with_2_and_shows_the_way(words: tuple[str, ...]) -> None:
    done = runner.invoke(cli.build(words[0]), words)
    assert done.exit_code == 2
    assert "--help" in done.stderr


def test_only_the_command_that_was_asked_for_is_imported() -> None:
    code = "import sys; from edge_agent.cli import build; build('check'); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "'edge_agent.commands.check'" in done.stdout
    assert "'edge_agent.commands.demo'" not in done.stdout


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (ConfigError("wrong key"), EXIT_CONFIG, "wrong key\n"),
        (Transient("peer is away"), EXIT_FAILED, "failed: peer is away\n"),
    ],
)
def test_errors_end_with_their_code_and_no_traceback(
    error: Exception, code: int, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "build", lambda _: fail)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == code
    assert capsys.readouterr().err == told


def test_a_bug_is_not_dressed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only errors that a user can mend lose their traceback."""

    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "build", lambda _: fail)
    with pytest.raises(ZeroDivisionError):
        cli.main()
