"""What happens to a process into which credentials come."""

import subprocess
import sys

SCRIPT = """
import resource
from media_pipeline.settings import settings_of
from resources.credentials import credential_source
_, hard = resource.getrlimit(resource.RLIMIT_CORE)
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
credential_source(settings_of({}))
print(resource.getrlimit(resource.RLIMIT_CORE))
"""


def test_it_leaves_no_core_file():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert done.stdout == "(0, 0)\n"
