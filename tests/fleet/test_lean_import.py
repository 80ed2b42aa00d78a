"""An optional library stays out while another one is imported, and can be imported afterwards."""

import subprocess
import sys

import pytest

from fleet.lean_import import without


def test_module_is_missing_inside_and_there_afterwards(monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with without("colorsys"), pytest.raises(ImportError):
        import colorsys
    import colorsys

    with without("colorsys"):
        import colorsys as still_there
    assert still_there is colorsys


def test_network_comes_without_what_draws():
    code = "import sys, fleet.autoencoder; assert 'matplotlib' not in sys.modules; import matplotlib.figure"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
