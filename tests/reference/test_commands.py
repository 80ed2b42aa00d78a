"""The page of the commands holds all of them, in sentences, and nothing that differs from machine to machine."""

import typer.main

from commands.main import commands
from reference.commands import commands_page


def every_command(group, title="fleet"):
    for name, command in group.commands.items():
        yield f"{title} {name}", command
        yield from every_command(command, f"{title} {name}") if hasattr(command, "commands") else ()


COMMANDS = dict(every_command(typer.main.get_command(commands)))


def section(title: str) -> str:
    heading = f"\n{'#' * (1 + title.count(' '))} {title}\n"
    return commands_page().split(heading)[1].split("\n## ")[0].split("\n### ")[0]


def test_every_command_has_a_section_with_its_options():
    for title, command in COMMANDS.items():
        text = section(title)
        for parameter in getattr(command, "params", []) if not hasattr(command, "commands") else []:
            for name in parameter.opts if parameter.param_type_name == "option" else [parameter.name.upper()]:
                assert f"| `{name}`" in text, (title, name)


def test_every_help_text_is_in_sentences():
    for title, command in COMMANDS.items():
        texts = [command.help, *(parameter.help for parameter in command.params if not hasattr(command, "commands"))]
        for text in texts:
            assert text, title
            assert text[0].isupper(), (title, text)
            assert text.rstrip().endswith("."), (title, text)


def test_required_options_stand_in_the_usage():
    assert "fleet replay FILE [OPTIONS]" in section("fleet replay")
    assert "fleet backtest --fit PATH --score PATH --out PATH [OPTIONS]" in section("fleet backtest")


def test_defaults_that_differ_from_machine_to_machine_are_words():
    assert "| `--processes` | `INTEGER` | one per core |" in section("fleet evaluate")
    assert "| `--config` | `PATH` | `serve_config.yaml` |" in section("fleet run")


def test_flag_with_a_negation_shows_both_and_which_one_holds():
    assert "| `--contaminated`, `--no-contaminated` |  | `--contaminated` |" in section("fleet evaluate")
