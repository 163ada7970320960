"""The tests that cannot hold, with their reasons.

The list can only shrink: a listed test that passes is an error, and so is an entry that excuses no failure.
Each reason says by which error its tests fail, so that no other one hides behind it.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.django_suite.modes import MODES

ALL = frozenset(MODES)
CLOUDFLARE = ALL - {"local"}
UNIQUE = frozenset(name for name in CLOUDFLARE if MODES[name].unique_names)
GIVEN = CLOUDFLARE - UNIQUE

# No tests of a storage: of an attribute that FileSystemStorage lost in Django 6.0; of the permissions of a
# folder, which root does not need.
LEFT_OUT = ("OverwritingStorageOSOpenFlags*.*", "DirectoryCreationTests.test_readonly_root")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why ``tests`` fail in ``modes``; ``error`` is a regular expression that their tracebacks contain.

    A test is ``Class.method``, or ``method`` of every class; both may have wildcards.
    """

    because: str
    error: str
    modes: frozenset[str] = CLOUDFLARE
    tests: tuple[str, ...]


REASONS = (
    Reason(
        because="The tests use other classes and settings than a project's.",
        error=r"!= 'django\.core\.files\.storage\.FileSystemStorage'|\{'def.*\} != \{'def",
        modes=ALL,
        tests=("FileSystemStorageTests.test_deconstruction", "StorageHandlerTests.test_defaults"),
    ),
    Reason(
        because="An image at Cloudflare has no path on this machine.",
        error=r"absolute paths|has no attribute '(base_location|base_url)'|(True|False) is not (True|false)",
        tests=(
            "test_empty_location",
            "test_delete_when_missing",
            "test_file_get_created_time",
            "test_file_get_modified_time",
            "test_file_methods_pathlib_path",
            "test_file_object",
            "test_file_path",
            "test_file_save_broken_symlink",
            "test_file_upload_*permissions",
            "test_filename_case_preservation",
            "test_instantiate_missing",
            "test_lazy_base_url_init",
            "test_setting_changed",
        ),
    ),
    Reason(
        because="An image at Cloudflare has no path on this machine, also under the name that was asked for.",
        error=r"False is not true",
        modes=GIVEN,
        tests=("test_file_save_without_name", "test_save_overwrite_behavior_temp_file"),
    ),
    Reason(
        because="An absolute path on this machine is no name at Cloudflare: it leads outside.",
        error=r"SuspiciousNameError",
        tests=("test_delete_deletes_directories", "test_not_a_directory"),
    ),
    Reason(
        because="A temporary file cannot be moved to Cloudflare, only sent.",
        error=r"Temporary file still exists",
        tests=("test_move_temporary_file",),
    ),
    Reason(
        because="The test looks into a folder of this machine; of two equal given names one is refused.",
        error=r"IndexError: list index out of range|ImageExistsError",
        modes=ALL,
        tests=("test_race_condition",),
    ),
    Reason(
        because="The base URL of Cloudflare's images is that of the account.",
        error=r"has no attribute 'base_url'|ValueError not raised",
        tests=("test_base_url", "test_file_url"),
    ),
    Reason(
        because="There are no folders at Cloudflare, only names with slashes.",
        error=r"False is not true|PermissionError not raised|Items in the second set",
        tests=(
            "test_file_save_with_path",
            "test_listdir",
            "test_remove_race_handling",
        ),
    ),
    Reason(
        because="There are no folders, so that none can be forbidden.",
        error=r"PermissionError not raised",
        modes=GIVEN,
        tests=("test_makedirs_race_handling",),
    ),
    Reason(
        because="An image at Cloudflare is replaced, never written to.",
        error=r"read as bytes and never changed: mode 'wb?'",
        tests=(
            "test_file_access_options",
            "test_file_storage_preserves_filename_case",
            "test_filefield_write",
        ),
    ),
    Reason(
        because="Cloudflare does not say when an image was read.",
        error=r"must provide a get_accessed_time\(\) method|absolute paths",
        tests=("test_file_get_accessed_time*",),
    ),
    Reason(
        because="Cloudflare takes no file of more than 10 MB.",
        error=r"too large \(10\.1 MB; the limit is 10 MB\)",
        tests=("test_large_upload",),
    ),
    Reason(
        because="Names are unique, and end as the format does: no image has the name that was asked for.",
        error=r"-[0-9a-z]{6}-[0-9a-z]{16}\.png|'[\w.]*\.png' != '|ImageNotFoundError|False is not [tT]rue|"
        r"500 != 200|No such file or directory|'some/folder/test-with-space.txt'",
        modes=UNIQUE,
        tests=(
            "test_custom_get_available_name",
            "test_custom_storage_discarding_empty_content",
            "test_custom_valid_name_callable_upload_to",
            "test_directory_with_dot",
            "test_duplicate_filename",
            "test_empty_upload_to",
            "test_extended_length_storage",
            "test_file_save_without_name",
            "test_filefield_db_default",
            "test_filefield_default",
            "test_filefield_generate_filename",
            "test_filefield_generate_filename_with_upload_to",
            "test_filefield_pickling",
            "test_files",
            "test_first_character_dot",
            "test_makedirs_race_handling",
            "test_media_root_pathlib",
            "test_pathlib_upload_to",
            "test_random_upload_to",
            "test_save_overwrite_behavior*",
            "test_stringio",
            "test_unicode_*name*",
        ),
    ),
    Reason(
        because="The format decides on the extension, also of a name that a subclass has chosen.",
        error=r"ImageExistsError",
        modes=UNIQUE,
        tests=(
            "CustomStorageTests.test_file_get_created_time_timezone",
            "CustomStorageTests.test_file_get_modified_time_timezone",
            "CustomStorageTests.test_save_doesnt_close",
        ),
    ),
    Reason(
        because="With unique_names: False a name is given once, neither changed nor overwritten.",
        error=r"ImageExistsError",
        modes=GIVEN | {"local"},
        tests=(
            "test_directory_with_dot",
            "test_duplicate_filename",
            "test_equal_notequal_hash",
            "ImageField*.test_field_save_and_delete_methods",
            "test_file_truncation",
            "test_files",
            "test_first_character_dot",
            "[DF]*.test_save_doesnt_close",
            "test_width_height_correct_name_mangling_correct",
        ),
    ),
    Reason(
        because="Cloudflare cannot overwrite an image.",
        error=r"ImageExistsError",
        modes=GIVEN,
        tests=("OverwritingStorageTests.test_save_doesnt_close", "test_save_overwrite_behavior*"),
    ),
    Reason(
        because="A given name is refused if an earlier test, or a link that leads nowhere, has it.",
        error=r"ImageExistsError",
        modes=frozenset({"local"}),
        tests=("[DF]*.test_file_save_broken_symlink", "FileUploadTests.test_unicode_*name_rfc2231*"),
    ),
    Reason(
        because="A name in the database has at most 255 characters.",
        error=r"the limit (in the background )?is 255",
        modes=GIVEN - {"direct-given"},
        tests=("test_extended_length_storage",),
    ),
    Reason(
        because="Suspicious names are refused with the same error; its message names the whole name.",
        error=r"not found in \"(Could not derive file name|Detected path traversal attempt)",
        modes=ALL,
        tests=("test_storage_dangerous_paths*",),
    ),
    Reason(
        because="A unique name is made of any file name, and safe; nothing is suspicious about it.",
        error=r"SuspiciousFileOperation not raised",
        modes=UNIQUE,
        tests=("test_storage_dangerous_paths", "test_filefield_dangerous_filename"),
    ),
    Reason(
        because="A given name is not cut, and a unique one has a part that cannot be cut: neither fits.",
        error=r"(the limit is|unique name in) (5|10)\b",
        modes=ALL,
        tests=("test_file_name_truncation*",),
    ),
    Reason(
        because="A unique name has a part that cannot be cut, and does not fit.",
        error=r"NameError: .* unique name in 20 ",
        modes=UNIQUE,
        tests=("test_file_truncation",),
    ),
)
