"""Django's own tests of files and images, with the storages of this package in place of Django's.

``python3 dev.py django-tests [MODE …]`` runs them. They are in Django's sdist alone, which ``__main__``
downloads; it starts ``one_mode`` in a process of its own for each of the ``modes``. ``storages`` has what
takes the place of ``FileSystemStorage``, ``expected`` the tests that cannot hold.
"""

APPS = ("file_storage", "file_uploads", "model_fields")
MODULES = (
    "file_storage.tests",
    "file_storage.test_generate_filename",
    "file_uploads.tests",
    "model_fields.test_filefield",
    "model_fields.test_imagefield",
)
