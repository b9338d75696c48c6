"""Tiny DICOM series, segmentations and structure sets for tests, made with pydicom alone."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT, MR, RTSTRUCT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.481.3"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def new_file(sop_class, **elements):
    """Return an unsaved DICOM dataset with its file's own group."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


def make_slice(pixels, position, **elements):
    """Return an unsaved CT slice of int16 pixels [row,column] at a position (LPS); elements replace its defaults."""
    pixels = np.asarray(pixels, dtype=np.int16)
    dataset = new_file(CT, Modality="CT", PatientID="p1", PatientName="Doe^Jane", PatientBirthDate="19700101")
    dataset.PatientSex, dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "F", "20200102", "030405", "7"
    dataset.AccessionNumber, dataset.ReferringPhysicianName, dataset.SeriesNumber = "a1", "Roe^Max", 3
    dataset.ImageType, dataset.InstanceNumber = ["ORIGINAL", "PRIMARY", "AXIAL"], 1
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.PixelSpacing, dataset.SliceThickness = [0.8, 0.6], 2.5
    dataset.ImageOrientationPatient = list(AXIAL)
    dataset.ImagePositionPatient = [float(value) for value in position]
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.PixelData = pixels.tobytes()
    for name, value in elements.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    return dataset


def make_series(folder, array=None, *, step=(0.0, 0.0, 2.5), change=None, uids=None, **elements):
    """Write slices of stored values [column,row,slice] with shuffled names and return the folder.

    Rows are 0.8 mm apart, columns 0.6, slices by `step` from (-10, -20, 30) (LPS). change: called with the index and
    the dataset of each slice; False leaves it out. uids: of study, series and frame of reference, by name.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    array = stored_values() if array is None else array
    uids = {name: generate_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")} | (
        uids or {}
    )
    order = np.random.default_rng(0).permutation(array.shape[2])
    for index in range(array.shape[2]):
        position = np.array([-10.0, -20.0, 30.0]) + index * np.array(step)
        dataset = make_slice(array[:, :, index].T, position, **(uids | elements))
        if change is None or change(index, dataset) is not False:
            dataset.save_as(folder / f"slice{order[index]:03d}.dcm", enforce_file_format=True)
    return folder


def stored_values(shape=(9, 7, 5), seed=0):
    return np.random.default_rng(seed).integers(0, 2000, shape).astype(np.int16)


def make_structure_set(path, series, rois, *, frame_of_reference=None):
    """Write an RTSTRUCT of contours [n,3] (LPS, mm): {name: [contour, …]}, numbered from 11; return the path.

    series: a dataset of the series it refers to. A contour may also be a dataset, as of `make_contour`.
    """
    dataset = new_file(RTSTRUCT, Modality="RTSTRUCT", StudyInstanceUID=series.StudyInstanceUID)
    place, study, listed = Dataset(), Dataset(), Dataset()
    place.FrameOfReferenceUID = frame_of_reference or series.FrameOfReferenceUID
    listed.SeriesInstanceUID = series.SeriesInstanceUID
    study.RTReferencedSeriesSequence = Sequence([listed])
    place.RTReferencedStudySequence = Sequence([study])
    dataset.ReferencedFrameOfReferenceSequence = Sequence([place])
    names, drawn = [], []
    for number, (name, contours) in enumerate(rois.items(), start=11):
        roi, contour_set = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, contour_set.ReferencedROINumber = number, name, number
        contour_set.ContourSequence = Sequence(
            [one if isinstance(one, Dataset) else make_contour(one) for one in contours]
        )
        names.append(roi)
        drawn.append(contour_set)
    dataset.StructureSetROISequence, dataset.ROIContourSequence = Sequence(names), Sequence(drawn)
    dataset.save_as(path, enforce_file_format=True)
    return Path(path)


def make_contour(points, kind=None):
    """Return a contour of points [n,3] (LPS, mm), closed unless of another kind."""
    contour = Dataset()
    points = np.asarray(points, dtype=float)
    contour.ContourGeometricType = kind or ("CLOSED_PLANAR" if len(points) > 1 else "POINT")
    contour.NumberOfContourPoints = len(points)
    contour.ContourData = [float(value) for value in points.ravel()]
    return contour
