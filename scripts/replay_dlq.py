#!/usr/bin/env python3
"""`media-pipeline dlq ...` under the name that the runbook knows."""

import sys

from media_pipeline.cli.main import main

if __name__ == "__main__":
    sys.argv[1:1] = ["dlq"]
    main()
