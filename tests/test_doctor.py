"""Promises of `fer_pipeline.report.doctor`."""

import platform
from pathlib import Path

import pytest

from fer_pipeline.__main__ import main
from fer_pipeline.errors import SetupError
from fer_pipeline.report import doctor
from fer_pipeline.report.doctor import examine


def test_this_machine_is_well() -> None:
    findings = {finding.name: finding for finding in examine()}
    assert {"python", "opencv", "68-point landmarks", "face embedding", "extra train", "device"} <= findings.keys()
    assert all(finding.good for finding in findings.values() if finding.needed and finding.name != "disk")
    assert findings["python"].found == platform.python_version()


def test_what_ails_names_its_remedy() -> None:
    assert all(finding.remedy for finding in examine() if not finding.good)


def test_missing_weights_are_an_illness(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def find_nothing(name: str) -> Path:
        raise SetupError(f"{name}: pip install face_recognition_models")

    monkeypatch.setattr(doctor, "find_weights", find_nothing)
    assert main(["doctor"]) == 1
    told = capsys.readouterr().out
    assert "MISSING 68-point landmarks: missing: pip install face_recognition_models" in told


def test_a_missing_extra_is_told_but_no_illness(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(doctor.EXTRAS, "scale", ("no_such_module",))
    monkeypatch.setattr(doctor, "LITTLE_ROOM", 0)
    assert main(["doctor"]) == 0
    assert (
        "without extra scale: not installed: no_such_module: pip install 'fer-pipeline[scale]'"
        in capsys.readouterr().out
    )


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LITTLE_ROOM", 10**18)
    disk = next(finding for finding in examine() if finding.name == "disk")
    assert not disk.good
    assert "make room" in disk.remedy
