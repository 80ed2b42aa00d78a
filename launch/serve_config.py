"""Reads `serve_config.yaml`: the settings under `args`, the deployments, and where Serve will listen."""

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from fleet.errors import SettingsError
from fleet.settings import PROJECT_FOLDER, Settings, read_settings

CONFIG_FILE = PROJECT_FOLDER / "serve_config.yaml"

Config = dict[str, Any]


def read_serve_config(file: Path = CONFIG_FILE) -> Config:
    """Return the parsed config. Raises SettingsError when it cannot be read."""
    try:
        config = yaml.safe_load(file.read_text())
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}.") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{file} is no valid YAML: {error}") from None
    if not isinstance(config, dict) or not config.get("applications"):
        raise SettingsError(f"{file} has no `applications`: start from the one in the repository.")
    return config


def arguments_of(config: Config) -> Config:
    """Return the application's arguments: what `fleet.settings` reads."""
    arguments: Config = config["applications"][0]["args"]
    return arguments


def deployments_of(config: Config, names: Iterable[str]) -> list[Config]:
    """Return the sections of some deployments of the application."""
    return [section for section in config["applications"][0]["deployments"] if section["name"] in set(names)]


def configured_settings(file: Path = CONFIG_FILE) -> Settings:
    """Return the settings that the application in this config would get."""
    return read_settings(read_serve_config(file)["applications"][0].get("args") or {})


def listening_on(config: Config, host: str, *, allow_open: bool) -> Config:
    """Return the config with another address to listen on, and with what is allowed there."""
    changed = copy.deepcopy(config)
    changed["http_options"] = {**(changed.get("http_options") or {}), "host": host}
    arguments = changed["applications"][0].get("args") or {}
    auth = {**(arguments.get("auth") or {}), "allow_open": allow_open}
    changed["applications"][0]["args"] = {**arguments, "auth": auth}
    return changed


def http_port(file: Path = CONFIG_FILE) -> int:
    """Return the port of the page."""
    return int((read_serve_config(file).get("http_options") or {}).get("port", 8000))
