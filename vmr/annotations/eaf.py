"""ELAN documents (.eaf): tiers of annotations, aligned with time slots in milliseconds."""

from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

from vmr.annotations.parsed import ParsedFile, Problem, Query, clean_sentence, read_bytes
from vmr.errors import AnnotationError


def parse_eaf(path: Path) -> ParsedFile:
    """Read every annotation of every tier; one without times of its own has those of the one that it refers to.

    Args:
        path: the document; its video is the medium that it names, or where it names none the file's own name.

    Raises:
        AnnotationError: the file is missing, no such document, or has nothing usable.
    """
    try:
        root = ElementTree.fromstring(read_bytes(path))
    except ElementTree.ParseError as error:
        raise AnnotationError(f"{path}: no document of ELAN ({error}). Export it again, or give a CSV.") from error
    if root.tag != "ANNOTATION_DOCUMENT":
        raise AnnotationError(
            f"{path}: an ANNOTATION_DOCUMENT of ELAN was expected, found XML with the root {root.tag}. Give a CSV."
        )
    media = [medium for medium in root.iter("MEDIA_DESCRIPTOR") if "audio" not in medium.get("MIME_TYPE", "")]
    url = next((medium.get("MEDIA_URL") or unquote(medium.get("RELATIVE_MEDIA_URL") or "") for medium in media), "")
    video = url or path.stem
    slots = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in root.iter("TIME_SLOT")}
    aligned = {own.get("ANNOTATION_ID"): own for own in root.iter("ALIGNABLE_ANNOTATION")}
    refers = {own.get("ANNOTATION_ID"): own for own in root.iter("REF_ANNOTATION")}
    parsed = ParsedFile()
    for tier in root.iter("TIER"):
        for own in [*tier.iter("ALIGNABLE_ANNOTATION"), *tier.iter("REF_ANNOTATION")]:
            parsed.lines += 1
            name = own.get("ANNOTATION_ID", "")
            where = f"{path}: {tier.get('TIER_ID')}, {name}"
            timed: ElementTree.Element | None = own
            seen = set[str]()
            while timed is not None and timed.tag == "REF_ANNOTATION" and timed.get("ANNOTATION_REF") not in seen:
                reference = timed.get("ANNOTATION_REF", "")
                seen.add(reference)
                timed = aligned.get(reference, refers.get(reference))
            times = [] if timed is None else [slots.get(timed.get(f"TIME_SLOT_REF{number}")) for number in (1, 2)]
            if len(times) != 2 or not all(time and time.isdigit() for time in times):
                parsed.malformed.append(Problem(where, "its start and end are not aligned with the time line"))
                continue
            start, end = (int(time or 0) / 1000 for time in times)
            parsed.add(Query(name, where, video, start, end, clean_sentence(own.findtext("ANNOTATION_VALUE") or "")))
    parsed.refuse_nothing(path, "one annotation of ELAN")
    return parsed
