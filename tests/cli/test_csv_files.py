"""Tests of tables in text files: headers, delimiters, and the errors for other texts."""

import csv
import warnings

import numpy as np
import pytest

from gmm_core import GaussianMixture
from gmm_core.cli.data_files import read_data
from gmm_core.cli.main import main

NUMBERS = [[1.5, 2.25], [3.5, -4.0], [5.0, 6.125]]
ROWS = "1.5,2.25\n3.5,-4\n5,6.125\n"


def check(data, names):
    assert data.names == names
    np.testing.assert_array_equal(data.X, NUMBERS)


def test_header_of_numbers(write):
    path = write("2019,2020\n" + ROWS)
    check(read_data(path, header="yes"), ["2019", "2020"])
    for header in ("auto", "no"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert read_data(path, header=header).X.shape == (4, 2)


def test_a_first_line_that_may_be_a_header_is_a_sample_with_a_warning(write):
    with pytest.warns(UserWarning, match="line 1 was read as a sample.*--header yes"):
        data = read_data(write("2019,2020\n1.5,2\n3.5,-4\n"))
    assert data.names is None and data.X.shape == (3, 2)


@pytest.mark.parametrize(
    "text",
    [
        ROWS,
        "1,2\n3.5,4\n5,6\n",  # another line of whole numbers
        "1.0,2.0\n3.5,4\n5.5,6\n",  # this is how pandas writes columns of floats
        "1,2\n3.5,4\n",  # there are too few lines to compare with
    ],
)
def test_an_ordinary_first_line_gives_no_warning(write, text):
    assert read_data(write(text)).names is None  # a warning would be an error


def test_header_no_silences_the_warning(write):
    assert read_data(write("2019,2020\n1.5,2\n3.5,-4\n"), header="no").X.shape == (3, 2)


def test_quotes_make_a_header_of_numbers(write):
    check(read_data(write('"2019","2020"\n' + ROWS)), ["2019", "2020"])
    # If all fields are quoted, the quotes do not tell a header from a sample.
    quoted = "".join(f'"{a}","{b}"\n' for a, b in NUMBERS)
    check(read_data(write(quoted)), None)
    check(read_data(write('"2019","2020"\n' + quoted), header="yes"), ["2019", "2020"])
    assert read_data(write('"1","2"\n')).X.tolist() == [[1, 2]]


@pytest.mark.parametrize("header", ["auto", "yes"])
def test_columns_may_be_named_nan_or_inf(write, header):
    check(read_data(write("nan,x\n" + ROWS), header=header), ["nan", "x"])
    check(read_data(write("inf,Infinity\n" + ROWS), header="yes"), ["inf", "Infinity"])


def test_a_first_line_of_nan_is_a_header_only_on_request(write):
    # It may be a missing value. If it were taken as a header, a sample would be lost silently.
    with pytest.raises(ValueError, match="line 1: 'nan' is not a finite number.*--header yes"):
        read_data(write("nan\n1\n2\n"))
    with pytest.raises(ValueError, match="sample 1, column 1 is nan"):
        read_data(write("nan,1\n1,2\n"))
    assert read_data(write("nan\n1\n2\n"), header="yes").names == ["nan"]


def test_header_of_text_and_numbers(write):
    path = write("2019,total\n" + ROWS)
    with pytest.raises(ValueError, match="column 2: 'total' is not a number.*--header yes"):
        read_data(path)
    with pytest.raises(ValueError, match="column 2: 'total' is not a number$"):
        read_data(path, header="no")
    check(read_data(path, header="yes"), ["2019", "total"])


def test_header_no_and_a_header(write):
    with pytest.raises(ValueError, match="line 1, column 1: 'a' is not a number"):
        read_data(write("a,b\n" + ROWS), header="no")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_byte_order_mark(write, end, mark):
    text = mark + "2019,2020\n" + ROWS
    check(read_data(write(text.replace("\n", end)), header="yes"), ["2019", "2020"])
    check(read_data(write((mark + ROWS).replace("\n", end))), None)


def test_header_of_one_column(write):
    data = read_data(write("x\n1\n2\n"))
    assert data.names == ["x"] and data.X.tolist() == [[1], [2]]
    data = read_data(write("2019\n1\n2\n"), header="yes")
    assert data.names == ["2019"] and data.X.tolist() == [[1], [2]]


@pytest.mark.parametrize("text", ["a,,b\n1,,2\n", "a,b,\n1,2,\n", ",,\n1,2,3\n"])
def test_columns_without_a_name(write, text):
    for header in ("auto", "yes"):
        with pytest.raises(ValueError, match="column . has no name"):
            read_data(write(text), header=header)


def test_empty_columns(write):
    with pytest.raises(ValueError, match="line 1, column 3: '' is not a number"):
        read_data(write("1,2,\n3,4,\n"))
    with pytest.raises(ValueError, match="line 2 has 3 columns, expected 2"):
        read_data(write("a,b\n1,2,\n3,4,\n"))


@pytest.mark.parametrize(
    ("option", "between"),
    [(";", ";"), ("|", "|"), (":", ":"), ("tab", "\t"), ("\\t", "\t"), ("\t", "\t"), ("space", " "),
     (" ", "   "), ("space", " \t "), (",", " , ")],
)
@pytest.mark.parametrize("names", ["", "a,b\n", '"a","b"\n'])
def test_delimiters(tmp_path, write, option, between, names):
    text = (names + ROWS).replace(",", between)
    if option in (" ", "space"):  # tables that are separated by spaces are often right-aligned
        text = "".join(f"  {line} \n" for line in text.splitlines())
    drawn = {}
    for name, content, options in (
        ("plain", names + ROWS, []), ("other", text, ["--delimiter", option]),
    ):
        path = str(tmp_path / f"{name}.npz")
        assert main(["fit", write(content), "--out", path, *options]) == 0
        drawn[name] = GaussianMixture.load(path)
        assert main(["score", path, write(content), *options]) == 0
        assert main(["predict", path, write(content), *options]) == 0
    np.testing.assert_array_equal(drawn["other"].means_, drawn["plain"].means_)
    assert hasattr(drawn["other"], "feature_names_in_") == bool(names)
    if names:
        assert drawn["other"].feature_names_in_.tolist() == ["a", "b"]


@pytest.mark.parametrize(("between", "name"), [(";", "';'"), ("\t", "tab"), ("  ", "space")])
@pytest.mark.parametrize("names", ["", "a,b\n"])
@pytest.mark.parametrize("rows", [ROWS, "1.5,2\n", "1.5,2,label\n", "2,5:3,5\n4,5:5,5\n"])
def test_another_delimiter_is_suggested(failure, write, between, name, names, rows):
    mark = ":" if ":" in rows else ","  # in the last case the commas are decimal commas
    text = (names.replace(",", mark) + rows).replace(mark, between)
    err = failure("fit", write(text))
    assert "is not a number" in err or "columns, expected 1" in err
    assert err.endswith(f"; are the columns separated by {name}? then use --delimiter {name}\n")


def test_the_comma_is_suggested_too(failure, write):
    err = failure("fit", write(ROWS), "--delimiter", ";")
    assert "then use --delimiter ','" in err


@pytest.mark.parametrize(
    "text", ["1,red\n", "a,b\n1,2\n3,4 five\n", "1,2\n3,4,5\n", "x\n2020-01-01 10:00\n", "1 , red , 3\n"]
)
def test_no_delimiter_is_suggested_for_text(failure, write, text):
    assert "--delimiter" not in failure("fit", write(text))


def test_decimal_commas(failure, write):
    path = write("a;b\n1.5;2,5\n")
    err = failure("fit", path, "--delimiter", ";")
    assert "line 2, column 2: '2,5' is not a number (expected a decimal point)" in err


@pytest.mark.parametrize("option", ["", ";;", "1", "e", ".", "-", '"', "\n", "tabs"])
def test_what_cannot_be_a_delimiter(failure, option):
    err = failure("fit", "x.csv", f"--delimiter={option}")
    assert "--delimiter" in err and repr(option) in err


@pytest.mark.parametrize("options", [["--delimiter", ";"], ["--header", "yes"], ["--header", "no"]])
def test_options_of_csv_files_are_for_csv_files(failure, tmp_path, options):
    path = str(tmp_path / "x.npy")
    np.save(path, NUMBERS)
    err = failure("fit", path, *options)
    assert "--delimiter and --header are for .csv files" in err


def test_numbers_have_no_underscores(write):
    with pytest.raises(ValueError, match="line 2, column 1: '1_0' is not a number"):
        read_data(write("1,2\n1_0,2\n"))


def test_a_field_that_is_too_long_for_the_csv_module(failure, write):
    text = "x" * (csv.field_size_limit() + 1)
    assert "field larger than field limit" in failure("fit", write(text))
