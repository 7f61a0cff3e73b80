"""Transparency logs: whether an entry is in the log, and whether it is about this signature.

RFC 6962 (trees), the checkpoint format of transparency-dev, and Rekor's SignedEntryTimestamp.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from datetime import datetime

from entrepot.signing.bundle import InclusionProof, LogEntry
from entrepot.signing.errors import SignatureRefused, UnreadableSignature
from entrepot.signing.keys import check_signature
from entrepot.signing.signed import SignedBytes
from entrepot.signing.trustroot import TransparencyLog, TrustRoot

_SIGNATURE_LINE = re.compile(r"— (\S+) ([A-Za-z0-9+/=]+)")
MAX_CHECKPOINT = 64 << 10


def check_entry(entry: LogEntry, root: TrustRoot, *, needs_proof: bool) -> datetime | None:
    """That a log of `root` vouches for the entry; when that log took it in, where it signed the time.

    `needs_proof` asks for the proof of inclusion; without it the log's signed promise is enough.
    Raises SignatureRefused.
    """
    log = root.log(entry.log_id)
    if log is None:
        raise SignatureRefused(f"log entry: the trust root knows no log {entry.log_id.hex()[:16]}")
    if entry.proof is not None and entry.proof.checkpoint is not None:
        _check_inclusion(entry.body, entry.proof)
        _check_checkpoint(entry.proof, log)
    elif needs_proof:
        raise SignatureRefused("log entry: there is no proof that the log includes it")
    elif entry.promise is None:
        raise SignatureRefused("log entry: neither a proof nor a promise of the log is there")
    if entry.promise is None:
        return None
    return _check_promise(entry, log)


def _check_promise(entry: LogEntry, log: TransparencyLog) -> datetime:
    if entry.integrated is None:
        raise SignatureRefused("log entry: it has a signed promise and no time")
    if not log.period.holds(entry.integrated):
        raise SignatureRefused(
            f"log entry: its time {entry.integrated:%Y-%m-%d %H:%M:%S} is outside of the log's trusted time"
        )
    check_signature(log.key, entry.promise or b"", SignedBytes(promised(entry)), "log entry: signed time")
    return entry.integrated


def promised(entry: LogEntry) -> bytes:
    """What a SignedEntryTimestamp is a signature of: canonical JSON."""
    seconds = int(entry.integrated.timestamp()) if entry.integrated else 0
    document = {
        "body": base64.b64encode(entry.body).decode(),
        "integratedTime": seconds,
        "logID": entry.log_id.hex(),
        "logIndex": entry.log_index,
    }
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def leaf_hash(body: bytes) -> bytes:
    return hashlib.sha256(b"\0" + body).digest()


def _check_inclusion(body: bytes, proof: InclusionProof) -> None:
    """RFC 6962 2.1.1, as RFC 9162 2.1.3.2 writes it down."""
    if proof.log_index >= proof.tree_size:
        raise SignatureRefused("log entry: wrong proof: its place lies outside of the tree")
    place, last = proof.log_index, proof.tree_size - 1
    found = leaf_hash(body)
    for sibling in proof.hashes:
        if last == 0:
            raise SignatureRefused("log entry: wrong proof: it has too many hashes")
        if place & 1 or place == last:
            found = _node(sibling, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = _node(found, sibling)
        place, last = place >> 1, last >> 1
    if last != 0 or found != proof.root_hash:
        raise SignatureRefused("log entry: wrong proof: the tree it leads to is another one")


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def _check_checkpoint(proof: InclusionProof, log: TransparencyLog) -> None:
    require_same_tree(proof)
    note, signatures = _parse_note(proof.checkpoint or "")
    for _name, signature in signatures:
        if signature[:4] == log.log_id[:4]:
            check_signature(log.key, signature[4:], SignedBytes(note.encode()), "log entry: checkpoint")
            return
    raise SignatureRefused("log entry: the log has not signed the checkpoint")


def require_same_tree(proof: InclusionProof) -> None:
    """That the log's checkpoint is of the tree the proof leads to. Raises SignatureRefused."""
    note, _ = _parse_note(proof.checkpoint or "")
    lines = note.split("\n")
    size, root = lines[1], lines[2]
    try:
        matches = int(size) == proof.tree_size and base64.b64decode(root, validate=True) == proof.root_hash
    except (ValueError, binascii.Error) as error:
        raise UnreadableSignature("log entry: its checkpoint cannot be read") from error
    if not matches:
        raise SignatureRefused("log entry: the checkpoint is of another tree than the proof")


def _parse_note(text: str) -> tuple[str, list[tuple[str, bytes]]]:
    """A signed note: its text with the final newline, and who signed it."""
    note, blank, rest = text.partition("\n\n")
    lines = note.split("\n")
    if len(text) > MAX_CHECKPOINT or not blank or "\n\n" in rest or len(lines) < 3 or not lines[0]:
        raise UnreadableSignature("log entry: its checkpoint cannot be read")
    if not rest.endswith("\n"):
        raise UnreadableSignature("log entry: its checkpoint ends in the middle of a line")
    found = []
    for line in rest[:-1].split("\n"):
        parts = _SIGNATURE_LINE.fullmatch(line)
        if parts is None:
            raise UnreadableSignature("log entry: its checkpoint has an unreadable signature")
        try:
            signature = base64.b64decode(parts[2], validate=True)
        except binascii.Error as error:
            raise UnreadableSignature("log entry: its checkpoint has an unreadable signature") from error
        found.append((parts[1], signature))
    return f"{note}\n", found
