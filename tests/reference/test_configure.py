"""The page of the settings holds all of them, with bounds that the settings keep to."""

import inspect

import pytest
from pydantic import BaseModel

from deployments.autoscaling import ScaleOnLag
from fleet.errors import SettingsError
from fleet.kafka import CLIENT_VARIABLES
from fleet.settings import Settings, read_settings
from reference.configure import bounds_of, configure_page, kind_of, read_ray_variables, unit_of


def leaves(section: type[BaseModel], place: tuple[str, ...] = ()):
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from leaves(field.annotation, (*place, name))
        else:
            yield pytest.param((*place, name), field, id=".".join((*place, name)))


SETTINGS = [*leaves(Settings)]


def section(heading: str) -> str:
    return configure_page().split(f"\n## {heading}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize(("place", "field"), SETTINGS)
def test_setting_has_a_row_in_its_section(place, field):
    assert section(".".join(place[:-1])).count(f"\n| `{place[-1]}` |") == 1


def test_every_variable_of_kafka_has_a_row():
    assert all(f"\n| `{name}` |" in section("Kafka's connection") for name in CLIENT_VARIABLES)


def test_scaling_says_what_every_argument_of_the_policy_does():
    arguments = [*inspect.signature(ScaleOnLag).parameters]
    assert all(f"\n| `{name}` |" in section("Scaling") for name in arguments)


@pytest.mark.parametrize(("place", "field"), SETTINGS)
def test_setting_says_what_it_does_in_sentences(place, field):
    assert field.description
    assert field.description[0].isupper() or field.description[0] == "`"
    assert field.description.endswith(".")


@pytest.mark.parametrize(("place", "field"), SETTINGS)
def test_numbers_have_bounds_and_a_unit(place, field):
    if kind_of(field.annotation) in ("integer", "number"):
        assert bounds_of(field)
        assert unit_of(place[-1])


@pytest.mark.parametrize(("place", "field"), SETTINGS)
def test_bounds_on_the_page_are_those_that_stop_the_start(place, field):
    for bound in filter(None, bounds_of(field).split(", ")):
        sign, number = bound.split()
        limit = float(number) if "." in number else int(number.replace(",", ""))
        beyond = {"≥": limit - 1, ">": limit, "≤": limit + 1}[sign]
        args = beyond
        for name in reversed(place):
            args = {name: args}
        with pytest.raises(SettingsError, match=rf"{'.'.join(place)}: Input should be"):
            read_settings(args)


def test_number_without_a_unit_in_its_name_has_no_place_on_the_page():
    with pytest.raises(KeyError, match="linger names no unit"):
        unit_of("linger")


def test_ray_variables_are_read_with_the_comment_of_their_paragraph():
    [first, second] = read_ray_variables("# About the file.\n\n# One\n# reason.\nA=1\nB=x=y\n\n# Another.\nC=\n")
    assert first == ({"A": "1", "B": "x=y"}, "One reason.")
    assert second == ({"C": ""}, "Another.")
