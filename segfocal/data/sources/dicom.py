"""A folder of patients with DICOM slices and a label each: see `segfocal.data.dicom_cases`."""

from segfocal.data.dicom_cases import is_folder, read_folder
from segfocal.data.sources.source import Source

SOURCE = Source(layout="a folder of patients with DICOM slices and a label each", knows=is_folder, read=read_folder)
