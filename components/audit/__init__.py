"""What an auditor does with a record: check it, read it, take it along, do a trial again."""

from components.audit.verify import verify_folder

__all__ = ["verify_folder"]
