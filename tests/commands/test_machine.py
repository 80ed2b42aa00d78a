"""What stands beside results: enough to tell what they were measured on."""

from datetime import date

from commands import machine


def test_machine_versions_and_date_are_there():
    measured = machine.measured_on()
    assert date.fromisoformat(measured["date"])
    for name in ("cores", "memory_gib", "architecture", "python", "kafka", "ray", "tensorflow"):
        assert measured[name], name


def test_folder_without_git_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "PROJECT_FOLDER", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert machine.measured_on()["commit"] is None


def test_machine_without_git_has_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert machine.measured_on()["commit"] is None
