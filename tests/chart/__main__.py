"""`make chart`: writes what is made of the chart."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.chart.helm import Helm
from tests.chart.render import crds, files

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        helm = Helm.built("helm3", Path(home))
        if helm is None:
            sys.exit("Helm is not built: run `make control-plane`")
        for path, text in crds().items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for path, text in files(helm).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
