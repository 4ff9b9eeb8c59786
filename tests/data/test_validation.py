"""Tests of the checks of data, compared with scikit-learn where it has such a check."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
import warnings

import numpy as np
import pytest
import scipy.sparse
import sklearn.exceptions
import sklearn.mixture
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.utils import check_array

from gmm_core.core import errors
from gmm_core.core.errors import convergence_warning_class, not_fitted_error
from gmm_core.data.validation import check_sample_weight, check_X

DATA = np.random.default_rng(0).normal(size=(12, 2))


def put(value, dtype=float):
    X = DATA.astype(dtype)
    X[3, 1] = value
    return X


# --- check_X: data that it accepts ----------------------------------------------------------

ACCEPTED = {
    "float64": DATA,
    "float32": DATA.astype(np.float32),
    "float16": DATA.astype(np.float16),
    "long double": DATA.astype(np.longdouble),
    "big-endian float64": DATA.astype(">f8"),
    "big-endian float32": DATA.astype(">f4"),
    "int8": (DATA * 10).astype(np.int8),
    "uint64": np.full((4, 2), 2**63, dtype=np.uint64),
    "bool": DATA > 0,
    "object": DATA.astype(object),
    "lists": DATA.tolist(),
    "tuples": tuple(map(tuple, DATA.tolist())),
    "integers beyond 64 bits": [[2**70, 1], [1, 2]],
    "numeric strings": DATA.astype(str),
    "Fortran order": np.asfortranarray(DATA),
    "Fortran order float32": np.asfortranarray(DATA.astype(np.float32)),
    "negative strides": DATA[::-1, ::-1],
    "every other row": DATA[::2],
    "zero strides": np.broadcast_to(DATA[:, :1], (12, 2)),
    "masked, without masked values": np.ma.masked_greater(DATA, DATA.max()),
    "huge values": DATA * 1e307,
    "huge values, float32": DATA.astype(np.float32) * np.float32(1e38),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepts_what_sklearn_accepts_with_equal_values_and_dtype(name):
    expected = check_array(ACCEPTED[name], dtype=[np.float64, np.float32])
    array, names = check_X(ACCEPTED[name])
    assert names is None
    assert array.dtype == expected.dtype
    assert array.dtype.isnative
    assert array.flags.c_contiguous and array.flags.aligned
    np.testing.assert_array_equal(array, expected)


@given(
    hnp.arrays(
        dtype=st.one_of(
            hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
            hnp.integer_dtypes(endianness="?"),
        ),
        shape=hnp.array_shapes(min_dims=2, max_dims=2),
        elements={"allow_nan": False, "allow_infinity": False},
    ),
    st.sampled_from([slice(None), slice(None, None, -1), slice(None, None, 2)]),
    st.booleans(),
)
def test_values_survive_any_dtype_and_layout(X, rows, transpose):
    X = (X.T if transpose else X)[rows]
    array, _ = check_X(X)
    assert array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative
    np.testing.assert_array_equal(array, X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_array_that_is_ready_is_not_copied(dtype, tmp_path):
    X = DATA.astype(dtype)
    X.flags.writeable = False
    assert np.shares_memory(check_X(X)[0], X)
    X.tofile(tmp_path / "X.bin")
    mapped = np.memmap(tmp_path / "X.bin", dtype=dtype, mode="r", shape=X.shape)
    array, _ = check_X(mapped)
    assert np.shares_memory(array, mapped)
    assert type(array) is np.ndarray
    np.testing.assert_array_equal(array, X)


def test_unaligned_memory_is_copied(tmp_path):
    (tmp_path / "X.bin").write_bytes(b"\0\0\0" + DATA.tobytes())
    mapped = np.memmap(tmp_path / "X.bin", dtype=float, mode="r", shape=DATA.shape, offset=3)
    assert not mapped.flags.aligned
    array, _ = check_X(mapped)
    assert array.flags.aligned
    np.testing.assert_array_equal(array, DATA)


def test_object_with_array_method():
    class Container:
        def __array__(self, dtype=None, copy=None):
            return DATA

    np.testing.assert_array_equal(check_X(Container())[0], DATA)


@pytest.mark.parametrize("scale", [1.0, 1e306])  # with 1e306 the sum overflows, but no value does
def test_looking_for_nan_allocates_no_copy_of_the_data(scale):
    X = np.full((200_000, 5), scale)
    tracemalloc.start()
    check_X(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < X.nbytes / 20


# --- check_X: data that it refuses ----------------------------------------------------------

REFUSED = {
    "NaN": (put(np.nan), "Input X contains NaN"),
    "NaN, float32": (put(np.nan, np.float32), r"Input X contains NaN.*\n.*X\[3, 1\]"),
    "inf": (put(np.inf), r"Input X contains infinity .* dtype\('float64'\).*X\[3, 1\]"),
    "-inf, float32": (put(-np.inf, np.float32), r"contains infinity .* dtype\('float32'\)"),
    "None": (put(None, object), "Input X contains NaN"),
    "no samples": (DATA[:0], r"Found array with 0 sample\(s\) \(shape=\(0, 2\)\) .* of 2 is"),
    "one sample": (DATA[:1], r"Found array with 1 sample\(s\)"),
    "no features": (DATA[:, :0], r"Found array with 0 feature\(s\) \(shape=\(12, 0\)\)"),
    "1-D": (DATA[0], "Expected 2D array, got 1D array instead"),
    "empty list": ([], "Expected 2D array, got 1D array instead"),
    "scalar": (3.0, "Expected 2D array, got scalar array instead"),
    "nothing": (None, r"Expected 2D array, got None instead\. Give X of shape"),
    "3-D": (DATA.reshape(2, 6, 2), "Found array with dim 3, while dim <= 2 is required"),
    "ragged": ([[1, 2], [3]], "inhomogeneous shape"),
    "letters": ([["a", "b"], ["c", "d"]], "could not convert string to float: 'a'"),
    "object with a letter": (put("a", object), "could not convert string to float: 'a'"),
    "object with a dict": (put({}, object), "argument must be a string or a real number"),
    "complex": (DATA + 0j, "Complex data not supported"),
    "list of complex": ((DATA + 0j).tolist(), "argument must be a string or a real number"),
    "sparse matrix": (scipy.sparse.csr_matrix(DATA), "Sparse data was passed for X"),
    "sparse array": (scipy.sparse.coo_array(DATA), "Sparse data was passed for X"),
    "structured": (np.zeros(3, dtype=[("a", float), ("b", float)]), "Cannot cast array data"),
    "masked NaN": (np.ma.masked_invalid(put(np.nan)), r"X has masked values, .*X\[3, 1\]\. "),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_what_sklearn_refuses_with_its_exception_type(name):
    X, message = REFUSED[name]
    with pytest.raises((TypeError, ValueError)) as expected:
        check_array(X, dtype=[np.float64, np.float32], ensure_min_samples=2)
    with pytest.raises(expected.type, match=message):
        check_X(X, min_samples=2)


def test_refuses_numpy_matrix():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        X = np.matrix(DATA)
    with pytest.raises(TypeError, match="np.matrix is not supported"):
        check_X(X)


@pytest.mark.parametrize("dtype", ["M8[s]", "m8[s]"])
def test_refuses_dates(dtype):
    with pytest.raises(TypeError, match=r"X has dtype .*\[s\], expected numbers"):
        check_X(np.ones((4, 2), dtype=dtype))


MASKED = np.ma.array(np.where(DATA > 1, 1e6, DATA), mask=DATA > 1)
FIRST = ", ".join(map(str, np.argwhere(DATA > 1)[0]))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, ">f8", np.int32, np.longdouble])
@pytest.mark.parametrize("container", [lambda X: X, list, lambda X: X.copy("F")], ids=["array", "list", "F"])
def test_masked_values_are_missing_or_refused(dtype, container):
    X = container(MASKED.astype(dtype))
    expected = np.where(DATA > 1, np.nan, DATA.astype(dtype))
    array, _ = check_X(X, allow_nan=True)
    assert array.dtype == (np.float32 if dtype == np.float32 else np.float64)
    np.testing.assert_array_equal(array, expected)
    with pytest.raises(ValueError, match=rf'X has masked values, .*X\[{FIRST}\].*"marginalize"'):
        check_X(X)
    with pytest.raises(ValueError, match=r"sample_weight has masked values.*sample_weight\[\d+\]"):
        check_sample_weight(abs(MASKED).max(axis=1, fill_value=0) * MASKED[:, 0] ** 2, len(X))


@pytest.mark.parametrize(
    "X", [lambda: DATA, iter([DATA]), [DATA, DATA], (DATA, DATA[:1])]
)
def test_batches_are_told_apart_from_an_array(X):
    with pytest.raises((TypeError, ValueError), match="X is .*fit_batches, .* take data in batches"):
        check_X(X)


@pytest.mark.parametrize("kind", ["dataset", "file", "reader"])
def test_data_sets_of_pyarrow_are_told_apart_from_an_array(kind, tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="tests data sets of pyarrow")
    from pyarrow import dataset, parquet

    table = pyarrow.table({"a": DATA[:, 0], "b": DATA[:, 1]})
    parquet.write_table(table, tmp_path / "X.parquet")
    X = {
        "dataset": lambda: dataset.dataset(tmp_path),
        "file": lambda: parquet.ParquetFile(tmp_path / "X.parquet"),
        "reader": table.to_reader,
    }[kind]()
    with pytest.raises(TypeError, match="X is of type .*, expected an array or a data frame. fit_batches"):
        check_X(X)
    np.testing.assert_array_equal(check_X(table)[0], DATA)
    np.testing.assert_array_equal(check_X(table.to_batches()[0])[0], DATA)


def test_a_collection_of_dask_is_refused():
    array = pytest.importorskip("dask.array", reason="tests collections of dask")
    X = array.from_array(DATA, chunks=(5, 2))
    with pytest.raises(TypeError, match=r"X is a Dask collection.*gmm_core\.dask\..*X\.compute\(\)"):
        check_X(X)
    with pytest.raises(TypeError, match=r"sample_weight is a Dask collection \(Array\)"):
        check_sample_weight(X[:, 0], len(DATA))


@pytest.mark.parametrize("X", [DATA.astype(str), DATA.astype("S8"), [["1", "2"]]])
def test_strings_are_refused_once_fitted_as_in_sklearn(X):
    model = sklearn.mixture.GaussianMixture().fit(DATA)
    with pytest.raises(ValueError, match="bytes/strings"):
        model.predict(X)
    with pytest.raises(ValueError, match="X has dtype .*, expected numbers"):
        check_X(X, n_features=2)


def test_long_double_beyond_float64_is_infinite():
    with pytest.raises(ValueError, match="contains infinity"):
        check_X(np.array([[np.longdouble("1e400"), 1.0]]))


def test_infinities_whose_sum_is_nan_are_called_infinite():
    with pytest.raises(ValueError, match="contains infinity"):
        check_X([[np.inf], [-np.inf]])


def test_number_of_features_and_name_of_the_class():
    with pytest.raises(
        ValueError, match="X has 3 features, but Mine is expecting 2 features as input"
    ):
        check_X(np.ones((4, 3)), n_features=2, estimator_name="Mine")


@pytest.mark.parametrize("position", [0, 65_535, 65_536, 199_999])
@pytest.mark.parametrize("value, what", [(np.nan, "NaN"), (np.inf, "infinity")])
def test_the_first_bad_value_is_named_wherever_it_is(position, value, what):
    X = np.zeros((100_000, 2))
    X.flat[position:] = value
    row, column = divmod(position, 2)
    with pytest.raises(ValueError, match=rf"contains {what}[\s\S]*X\[{row}, {column}\]"):
        check_X(X)


# --- data frames ----------------------------------------------------------------------------


def frame(dtype=None, columns=("a", "b")):
    pandas = pytest.importorskip("pandas", reason="tests frames of pandas")
    return pandas.DataFrame(DATA, columns=list(columns), dtype=dtype)


@pytest.mark.parametrize("dtype", [None, "float32", "Float64", "Float32", object])
def test_pandas_frame_gives_values_and_names_as_in_sklearn(dtype):
    X = frame(dtype)
    array, names = check_X(X)
    expected = check_array(X, dtype=[np.float64, np.float32])
    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array, expected)
    assert names is not None and names.dtype == object and list(names) == ["a", "b"]


def test_pandas_columns_of_several_types():
    X = frame()
    X["int"] = np.arange(12)
    X["bool"] = X["a"] > 0
    X["nullable"] = X["int"].astype("Int64")
    X["category"] = X["int"].astype("category")
    array, _ = check_X(X)
    np.testing.assert_array_equal(array, X.astype(float).to_numpy())


@pytest.mark.parametrize(
    "column, dtype, message",
    [
        (["x"] * 12, object, "could not convert string to float: 'x'"),
        (["x"] * 12, "string", "could not convert string to float: 'x'"),
        (["x"] * 12, "category", "could not convert string to float: 'x'"),
        ([None] * 12, object, "Input X contains NaN"),
        ([None] * 12, "string", "Input X contains NaN"),
        ([None, *range(11)], "category", "Input X contains NaN"),
        ([None, *range(11)], "Int64", "Input X contains NaN"),
        ([None, *range(11)], "Float32", "Input X contains NaN"),
    ],
)
def test_pandas_columns_that_are_not_numbers(column, dtype, message):
    X = frame()
    X["a"] = type(X["a"])(column, dtype=dtype)
    with pytest.raises(ValueError, match=message):
        check_X(X)


def test_pandas_dates_and_sparse_columns_are_refused():
    pandas = pytest.importorskip("pandas", reason="tests frames of pandas")
    X = frame()
    X["a"] = pandas.date_range("2020", periods=12, tz="UTC")
    with pytest.raises(TypeError, match="expected numbers"):
        check_X(X)
    with pytest.raises(TypeError, match="Sparse data was passed for X"):
        check_X(pandas.DataFrame(np.eye(4)).astype(pandas.SparseDtype(float, 0.0)))


COLUMNS = {
    "numbers": DATA[:, 0],
    "text": np.array([*"1234567890", "x", "y"]),
    "when": np.arange(12).astype("M8[ms]"),
    "how long": np.arange(12).astype("m8[ms]"),
}


@pytest.mark.parametrize("package", ["pandas", "polars", "pyarrow"])
@pytest.mark.parametrize(
    ("column", "error", "message"),
    [
        ("text", ValueError, r"to float: '?x'? \(X should be .*; its column 'text' has dtype "),
        ("when", TypeError, "column 'when' of X has dtype .*, expected numbers"),
        ("how long", TypeError, "column 'how long' of X has dtype .*, expected numbers"),
    ],
)
def test_a_bad_column_of_a_frame_is_named(package, column, error, message):
    module = pytest.importorskip(package, reason="tests frames")
    make = module.table if package == "pyarrow" else module.DataFrame
    for others in ({"numbers": COLUMNS["numbers"]}, {}):
        with pytest.raises(error, match=message) as caught:
            check_X(make({**others, column: COLUMNS[column]}))
        assert type(caught.value) is error


def test_a_column_of_huge_integers_is_named():
    with pytest.raises(ValueError, match=r"too large.*; its column 'c' has dtype object"):
        check_X(frame().assign(c=10**400))


def test_complex_columns_are_named():
    X = frame().assign(c=1j)
    with pytest.raises(ValueError, match="Complex data not supported: column 'c' of X has dtype"):
        check_X(X)


def test_pandas_series_is_told_apart_from_an_array():
    with pytest.raises(ValueError, match="Expected a 2-dimensional container but got .*Series"):
        check_X(frame()["a"])


def test_polars_frame():
    polars = pytest.importorskip("polars", reason="tests frames of polars")
    X = polars.DataFrame({"a": DATA[:, 0], "b": DATA[:, 1]})
    array, names = check_X(X)
    np.testing.assert_array_equal(array, DATA)
    assert names is not None and list(names) == ["a", "b"]


def test_pyarrow_table():
    pyarrow = pytest.importorskip("pyarrow", reason="tests tables of pyarrow")
    X = pyarrow.table({"a": DATA[:, 0], "b": DATA[:, 1]})
    array, names = check_X(X)
    np.testing.assert_array_equal(array, DATA)
    assert names is not None and list(names) == ["a", "b"]


def test_names_that_are_not_strings():
    assert check_X(frame(columns=[0, 1]))[1] is None
    with pytest.raises(TypeError, match=r"all input features have string names.*\['int', 'str'\]"):
        check_X(frame(columns=[0, "b"]))


def test_names_are_compared_with_the_fitted_ones():
    X, fitted = frame(), np.array(["a", "b"], dtype=object)
    assert list(check_X(X, n_features=2, feature_names=fitted)[1]) == ["a", "b"]
    with pytest.raises(ValueError, match="Feature names must be in the same order"):
        check_X(frame(columns=["b", "a"]), n_features=2, feature_names=fitted)
    with pytest.raises(ValueError, match="unseen at fit time:\n- c\n.*yet now missing:\n- b\n"):
        check_X(frame(columns=["a", "c"]), n_features=2, feature_names=fitted)


def test_a_long_list_of_names_is_cut():
    fitted = np.array([f"f{i}" for i in range(9)], dtype=object)
    with pytest.raises(ValueError, match="missing:\n- f0\n- f1\n- f2\n- f3\n- f4\n- ...\n$"):
        check_X(frame(), n_features=9, feature_names=fitted)


def test_names_on_one_side_only_warn():
    with pytest.warns(UserWarning, match="X has feature names, but Mine was fitted without"):
        check_X(frame(), n_features=2, estimator_name="Mine")
    with pytest.warns(UserWarning, match="X does not have valid feature names, but Mine was"):
        check_X(
            DATA,
            n_features=2,
            feature_names=np.array(["a", "b"], dtype=object),
            estimator_name="Mine",
        )


# --- sample_weight --------------------------------------------------------------------------


def test_sample_weight_forms():
    assert check_sample_weight(None, 3) is None
    for value in (2, 2.0, np.float32(2), True * 2):
        np.testing.assert_array_equal(check_sample_weight(value, 3), [2.0, 2.0, 2.0])
    for value in ([0, 1, 2], (0, 1, 2), np.array([0, 1, 2], ">i4"), np.arange(6.0)[::2] / 2):
        array = check_sample_weight(value, 3)
        assert array.dtype == np.float64 and array.dtype.isnative and array.flags.c_contiguous
        np.testing.assert_array_equal(array, [0.0, 1.0, 2.0])


def test_sample_weight_is_not_copied_or_changed():
    weight = np.arange(3.0)
    weight.flags.writeable = False
    assert np.shares_memory(check_sample_weight(weight, 3), weight)


@pytest.mark.parametrize(
    "value, message",
    [
        ([1.0, 2.0], r"sample_weight.shape == \(2,\), expected \(3,\)"),
        (np.ones((3, 1)), r"must be 1D array or scalar, got 2D array of shape \(3, 1\)"),
        (np.array(1.0), "must be 1D array or scalar, got 0D"),
        ([1.0, -1.0, 1.0], "Negative values in data passed to `sample_weight`.*-1"),
        (-1, "Negative values"),
        ([1.0, np.nan, 1.0], r"Input sample_weight contains NaN.*sample_weight\[1\]"),
        (np.inf, "Input sample_weight contains infinity"),
        ([0.0, 0.0, 0.0], "must contain at least one non-zero number"),
        (0, "must contain at least one non-zero number"),
        ([1e308, 1e308, 1e308], "The sum of sample_weight is too large"),
        (["a", "b", "c"], "could not convert string to float"),
        (np.ones(3) + 0j, "Complex data not supported"),
    ],
)
def test_sample_weight_errors(value, message):
    with pytest.raises(ValueError, match=message):
        check_sample_weight(value, 3)


def test_sparse_sample_weight():
    with pytest.raises(TypeError, match="Sparse data was passed for sample_weight"):
        check_sample_weight(scipy.sparse.csr_array(np.ones((1, 3))), 3)


# --- exceptions -----------------------------------------------------------------------------


def test_exceptions_of_sklearn_are_used_when_it_is_loaded(monkeypatch):
    assert type(not_fitted_error("GaussianMixture")) is sklearn.exceptions.NotFittedError
    assert convergence_warning_class() is sklearn.exceptions.ConvergenceWarning
    monkeypatch.delitem(sys.modules, "sklearn.exceptions")
    assert type(not_fitted_error("GaussianMixture")) is errors.NotFittedError
    assert convergence_warning_class() is errors.ConvergenceWarning
    assert str(not_fitted_error("Mine")).startswith("This Mine instance is not fitted yet.")


@pytest.mark.parametrize("name", ["NotFittedError", "ConvergenceWarning"])
def test_our_exceptions_have_the_bases_of_sklearns(name):
    assert getattr(errors, name).__bases__ == getattr(sklearn.exceptions, name).__bases__


def test_optional_packages_are_not_imported():
    code = (
        "import sys, gmm_core.data.validation, gmm_core.data.parameter_validation, gmm_core.sklearn_api\n"
        "print([m for m in ('sklearn', 'scipy', 'pandas', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", done.stdout
