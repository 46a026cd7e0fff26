"""Read the two files of ONNX Runtime that a browser needs, from a folder or by npm: they are never part of fer."""

import hashlib
import importlib.util
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from fer_pipeline.errors import InputError, SetupError

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
MODULE, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
SHA256 = {
    MODULE: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    WASM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
TIMEOUT = 600  # seconds for 33 MB


def read_runtime(given: Path | None = None) -> dict[str, bytes]:
    """Read both files from an unpacked package, or from one that npm fetches.

    Raises InputError for a folder without them or with those of another version, SetupError where npm cannot fetch.
    """
    if given is not None:
        return _read(
            next(
                (place for place in (given, given / "dist", given / "package/dist") if (place / WASM).is_file()), given
            )
        )
    with tempfile.TemporaryDirectory() as folder:
        archive = _fetch(Path(folder))
        with tarfile.open(archive) as package:
            for name in SHA256:
                package.extract(f"package/dist/{name}", folder, filter="data")
        return _read(Path(folder) / "package" / "dist")


def _fetch(folder: Path) -> Path:
    npm, remedy = shutil.which("npm"), f"unpack {PACKAGE} {VERSION} yourself and name its folder with --runtime"
    if npm is None:
        raise SetupError(f"export: npm is not installed, which fetches {PACKAGE}: install it, or {remedy}")
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", str(folder)]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=TIMEOUT)
        return next(folder.glob("*.tgz"))
    except (subprocess.SubprocessError, OSError, StopIteration) as error:
        lines = str(getattr(error, "stderr", "") or error).strip().splitlines()
        raise SetupError(f"export: npm could not fetch {PACKAGE} ({lines[0][:120]}): go online, or {remedy}") from None


def _read(folder: Path) -> dict[str, bytes]:
    found = {}
    for name, sha256 in SHA256.items():
        try:
            found[name] = (folder / name).read_bytes()
        except OSError:
            raise InputError(f"{folder}: holds no {name}: unpack {PACKAGE} {VERSION} there") from None
        if hashlib.sha256(found[name]).hexdigest() != sha256:
            raise InputError(f"{folder / name}: not that of {PACKAGE} {VERSION}: unpack this version there")
    return found


def list_licences() -> dict[str, Path]:
    """The licence of ONNX Runtime, which its npm package lacks and its wheel has, and that of YuNet."""
    spec = importlib.util.find_spec("onnxruntime")
    folder = Path(next(iter(spec.submodule_search_locations or ()))) if spec else Path()
    found = {"onnxruntime.txt": folder / "LICENSE", "onnxruntime-others.txt": folder / "ThirdPartyNotices.txt"}
    return {**found, "yunet.txt": Path(__file__).with_name("static") / "yunet.txt"}
