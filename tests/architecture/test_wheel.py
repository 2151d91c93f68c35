"""The wheel carries three packages and their data, and nothing else."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_wheel_contents(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "media_pipeline/definitions.py",
        "media_pipeline/contracts/schemas/media.ingested.v1.json",
        "media_pipeline/migrations/0002_ledger.sql",
        "media_pipeline/dagster_home/dagster.postgres.yaml",
        "media_pipeline/vault_policies/media-pipeline.hcl",
        "sensors/media_events.py",
        "resources/build.py",
    ):
        assert wanted in names, wanted
    roots = {one.split("/")[0] for one in names if ".dist-info/" not in one}
    assert roots == {"media_pipeline", "sensors", "resources"}
