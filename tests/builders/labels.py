"""One label of each AI Hub schema, with invented values."""

import json
from typing import Any

LABEL_71716: dict[str, Any] = {
    "question_filename": "P3_1_01_00000_00000.png",
    "OCR_info": [
        {
            "figure_text": "",
            "question_text": "사과가 $124$개 있습니다. 모두 몇 개인지 구하세요.",
            "question_bbox": [
                {"type": "line", "bbox": [12, 10.5, 410, 32], "text": "사과가 $124$개 있습니다."},
                {"type": "image", "bbox": [430, 8, 620, 90], "text": "None"},
                {"type": "line", "bbox": [12, 38, 260, 60], "text": "모두 몇 개인지 구하세요."},
            ],
        }
    ],
}
LABEL_71859: dict[str, Any] = {
    "raw_data_info": {"grade": "3학년", "subject": "수학"},
    "learning_data_info": [
        {
            "class_num": 1,
            "class_name": "문항(이미지)",
            "class_info_list": [
                {"Type": "Bounding_Box", "Type_value": [[430, 8, 620, 90]], "text_description": "사과 그림"},
            ],
        },
        {
            "class_num": 2,
            "class_name": "문항(텍스트)",
            "class_info_list": [
                {
                    "Type": "Bounding_Box",
                    "Type_value": [[20, 10.5, 400, 34.5]],
                    "text_description": "계산을 하세요.",
                },
                {
                    "Type": "Polygon",
                    "Type_value": [[180, 44], [20, 45], [21, 68.5], [181, 67]],
                    "text_description": "$124 + 57$",
                },
            ],
        },
        {
            "class_num": 1,
            "class_name": "보기(텍스트)",
            "class_info_list": [
                {
                    "Type": "Bounding_Box",
                    "Type_value": [[20, 70, 145, 110]],
                    "text_description": "㉠ $181$\n㉡ $171$",
                },
            ],
        },
        {
            "class_num": 1,
            "class_name": "정답(텍스트)",
            "class_info_list": [
                {"Type": "Polygon", "Type_value": [[20, 120], [80, 140]], "text_description": "㉠"},
            ],
        },
    ],
}


def encode(document: Any, encoding: str = "utf-8") -> bytes:
    return json.dumps(document, ensure_ascii=False).encode(encoding)
