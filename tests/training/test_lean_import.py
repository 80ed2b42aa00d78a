"""An optional library stays out while another one is imported, and can be imported afterwards."""

import gc
import subprocess
import sys

import pytest

from training.lean_import import uncollected, without


def test_module_is_missing_inside_and_there_afterwards(monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with without("colorsys"), pytest.raises(ImportError):
        import colorsys
    import colorsys

    with without("colorsys"):
        import colorsys as still_there
    assert still_there is colorsys


def test_nothing_is_collected_inside_and_again_afterwards():
    with uncollected():
        assert not gc.isenabled()
        with uncollected():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_network_comes_without_what_draws():
    code = "import sys, training.autoencoder; assert 'matplotlib' not in sys.modules; import matplotlib.figure"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
