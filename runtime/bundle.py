"""The bundle: the contract between the export pipeline and everything that runs a model.

A bundle is a flat folder: ``manifest.json`` (:mod:`arcmobile.runtime.bundle_schema`), one program
file per component, the tokenizer files. ``docs/bundle.md`` describes the format.
:meth:`Bundle.open` reads a bundle, :func:`write_bundle` writes one or nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from arcmobile.runtime import bounds
from arcmobile.runtime.bundle_schema import (
    KNOWN_SCHEMA_VERSIONS,
    MANIFEST_NAME,
    SCHEMA_VERSION,
    SENTENCEPIECE_NAME,
    TOKENIZER_NAME,
    AudioFormat,
    Component,
    DecoderPart,
    Entry,
    Fidelity,
    FileRecord,
    Manifest,
    NumberInput,
    Provenance,
    Schedule,
    TensorSpec,
    Tokenizer,
    Windowing,
    Work,
)
from arcmobile.runtime.errors import BundleError, ExportError
from arcmobile.runtime.strict_json import parse_json
from arcmobile.runtime.verified_files import file_digest, has_digest, open_regular
from arcmobile.runtime.whole_output import whole_folder

__all__ = [
    "KNOWN_SCHEMA_VERSIONS",
    "MANIFEST_NAME",
    "SCHEMA_VERSION",
    "SENTENCEPIECE_NAME",
    "TOKENIZER_NAME",
    "AudioFormat",
    "Bundle",
    "BundleWriter",
    "Component",
    "DecoderPart",
    "Entry",
    "Fidelity",
    "FileRecord",
    "Manifest",
    "NumberInput",
    "Provenance",
    "Schedule",
    "TensorSpec",
    "Tokenizer",
    "Windowing",
    "Work",
    "record_file",
    "write_bundle",
]

_EXPORT_AGAIN = "export the bundle again"


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose manifest is valid and whose files are all there."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, verify: bool = False) -> Bundle:
        """Open and check the bundle in folder ``path``.

        The sha256 of every file is compared with the manifest's. Files that have been compared
        before and have not changed since are not read again, see
        :mod:`arcmobile.runtime.verified_files`, unless ``verify`` asks for it.

        Raises:
            BundleError: naming the file, the field and the way out.
        """
        folder = Path(path)
        if folder.name == MANIFEST_NAME and not os.path.isdir(folder):  # noqa: PTH112 (see below)
            folder = folder.parent
        bundle = cls(folder, _read_manifest(folder / MANIFEST_NAME))
        for record in bundle.manifest.files():
            bundle._check_file(record, verify=verify)
        return bundle

    def file(self, record: FileRecord) -> Path:
        """Return the path of a file of this bundle.

        Raises:
            BundleError: it is a link that leaves the folder.
        """
        path = self.folder / record.file
        # A plain name can still be a symbolic link to somewhere else.
        if not _is_inside(path, self.folder):
            raise BundleError(f"{path}: is a link that leaves the bundle folder; {_EXPORT_AGAIN}")
        return path

    @property
    def size(self) -> int:
        """Bytes of all files named by the manifest, each counted once."""
        return sum({record.file: record.bytes for record in self.manifest.files()}.values())

    @property
    def digest(self) -> str:
        """sha256 of the manifest, which holds those of all files: it identifies the content."""
        return file_digest(self.folder / MANIFEST_NAME)

    def _check_file(self, record: FileRecord, *, verify: bool) -> None:
        path = self.file(record)
        try:
            with open_regular(path) as file:
                found = os.fstat(file.fileno()).st_size
                if found != record.bytes:
                    raise BundleError(
                        f"{path}: {found} bytes, the manifest says {record.bytes}; "
                        f"copy the file again or {_EXPORT_AGAIN}"
                    )
                if not has_digest(file, path, record.sha256, read=verify):
                    raise BundleError(
                        f"{path}: sha256 differs from the manifest; copy the file again or "
                        f"{_EXPORT_AGAIN}"
                    )
        except FileNotFoundError as error:
            raise BundleError(
                f"{path}: missing; copy the whole bundle folder or {_EXPORT_AGAIN}"
            ) from error
        except OSError as error:
            raise BundleError(
                f"{path}: cannot be read ({error.strerror}); copy the file again or {_EXPORT_AGAIN}"
            ) from error


def _is_inside(path: Path, folder: Path) -> bool:
    # os.path.realpath, because Path.resolve raises RuntimeError for a link that leads to itself.
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _read_manifest(path: Path) -> Manifest:
    folder = path.parent
    if not os.path.isdir(folder):  # noqa: PTH112 (Path.is_dir raises for what is too long)
        raise BundleError(f"{folder}: no such folder; give the folder of an exported bundle")
    if not _is_inside(path, folder):
        raise BundleError(f"{path}: is a link that leaves the bundle folder; {_EXPORT_AGAIN}")
    try:
        with open_regular(path) as file:
            data = file.read(bounds.MANIFEST_BYTES + 1)
    except FileNotFoundError:
        raise BundleError(
            f"{folder}: no {MANIFEST_NAME} in it; give the folder of an exported bundle"
        ) from None
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}); check the file") from error
    try:
        document = parse_json(
            data, most_bytes=bounds.MANIFEST_BYTES, most_levels=bounds.MANIFEST_DEPTH
        )
    except ValueError as error:
        raise BundleError(f"{path}: {error}; {_EXPORT_AGAIN}") from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    if type(version) is not int or version not in KNOWN_SCHEMA_VERSIONS:
        known = ", ".join(map(str, KNOWN_SCHEMA_VERSIONS))
        raise BundleError(
            f"{path}: schema_version {str(version)[:40]} is unknown (known: {known}); "
            f"{_EXPORT_AGAIN} with this version of arcmobile, or upgrade arcmobile"
        )
    try:
        return Manifest.model_validate_json(data, strict=True)
    except ValidationError as error:
        raise BundleError(f"{path}: {_first_problem(error)}; {_EXPORT_AGAIN}") from error


def _first_problem(error: ValidationError) -> str:
    first, *others = error.errors(include_url=False)
    field = _field(first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    text = f"{field}: {message}" if field else message
    return f"{text} (and {len(others)} more)" if others else text


def _field(location: tuple[int | str, ...]) -> str:
    """Return a place as all readers write it: ``components.dit.entries[0].frames``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".").removesuffix(".[key]")  # of a key that is wrong itself


def record_file(path: str | os.PathLike[str]) -> FileRecord:
    """Return name, sha256 and size of a file, read in pieces; OSError if it cannot be read."""
    path = Path(path)
    return FileRecord(file=path.name, sha256=file_digest(path), bytes=path.stat().st_size)


@dataclass
class BundleWriter:
    """An unfinished bundle: put files into ``folder``, then call :meth:`finish` once."""

    folder: Path
    manifest: Manifest | None = None

    def path(self, name: str) -> Path:
        """Return where to write the bundle file ``name``."""
        return self.folder / name

    def record(self, name: str) -> FileRecord:
        """Return the manifest's record of a file that was written to ``path(name)``."""
        return record_file(self.path(name))

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest; the bundle appears at its destination when the block ends."""
        text = manifest.model_dump_json(indent=2) + "\n"
        self.path(MANIFEST_NAME).write_text(text, encoding="utf-8")
        self.manifest = manifest

    def check(self) -> None:
        """Check that every file is recorded, and every record has a file of its size.

        Raises:
            ExportError: naming the file that does not fit.
        """
        if self.manifest is None:
            raise ExportError(f"{self.folder}: the bundle has no manifest; BundleWriter.finish it")
        recorded = {record.file: record.bytes for record in self.manifest.files()}
        found = {path.name: path.stat().st_size for path in self.folder.iterdir()}
        found.pop(MANIFEST_NAME)
        for name in sorted(recorded.keys() | found.keys()):
            if recorded.get(name) != found.get(name):
                raise ExportError(
                    f"{name}: {found.get(name, 'no')} bytes written, "
                    f"{recorded.get(name, 'no')} bytes recorded in the manifest"
                )


@contextmanager
def write_bundle(
    destination: str | os.PathLike[str], *, overwrite: bool = False
) -> Iterator[BundleWriter]:
    """Write a bundle to folder ``destination``, whole or not at all.

    Gives a writer on an unfinished folder beside the destination, see
    :func:`~arcmobile.runtime.whole_output.whole_folder`. It appears when the block ends well and
    its files match the manifest. A bundle already there is kept until then, and replaced only with
    ``overwrite``; nothing but a bundle or an empty folder is replaced.

    Raises:
        OutputError: the destination cannot be written, is taken, or the disk is full.
        ExportError: the files do not match the manifest.
    """
    with whole_folder(destination, replaceable=MANIFEST_NAME, overwrite=overwrite) as folder:
        writer = BundleWriter(folder)
        yield writer
        writer.check()
