import pyarrow as pa

from ocr_ray.evaluation.readings import print_table, read_table


def make_table(pairs: list[tuple[str, str]], **columns: list[object]) -> pa.Table:
    ids = [str(number) for number in range(len(pairs))]
    return pa.table(
        {
            "dataset": ["crops"] * len(pairs),
            "line_id": ids,
            "text": [reference for reference, _ in pairs],
            "prediction": [prediction for _, prediction in pairs],
            "source": ["page"] * len(pairs),
            **columns,
        }
    )


def test_lines_have_the_values_of_the_table_and_none_for_missing_columns() -> None:
    lines = read_table(make_table([("3㎠", "3cm²"), ("가", "나")], page_id=["p", None], page_order=[4, None]))
    assert [(line.reference, line.prediction) for line in lines] == [("3cm²", "3cm²"), ("가", "나")]
    assert [(line.page_id, line.page_order, line.font, line.markup) for line in lines] == [
        ("p", 4, None, None),
        (None, None, None, None),
    ]


def test_markup_is_converted_to_print_and_invalid_markup_is_kept() -> None:
    pairs = [(r"$3 \times 8$ 개", r"$3\times 8$ 개"), ("$7$개", "7개"), ("$7$개", "$7개")]
    table, unprintable = print_table(make_table(pairs))
    assert table["text"].to_pylist() == ["3 × 8 개", "7개", "7개"]
    assert table["prediction"].to_pylist() == ["3×8 개", "7개", "$7개"]
    assert unprintable == 1
    assert table["line_id"].to_pylist() == ["0", "1", "2"]
