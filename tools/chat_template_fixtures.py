"""Makes tests/fixtures/template/cases.json: chat templates and what transformers renders with them.

    python -m venv venv && venv/bin/pip install transformers==4.49.0 jinja2
    venv/bin/python tools/chat_template_fixtures.py [FILE]
"""
import json
import sys
from pathlib import Path

from transformers.utils.chat_template_utils import _compile_jinja_template

OUT = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1] / "tests/fixtures/template/cases.json")

QUESTIONS = [
    (None, "<image>\nWhat is in the picture?"),
    ("Answer shortly.", "<image>\nIs it 红色? Answer yes or no."),
    (None, "Image-1: <image>\nImage-2: <image>\nWhich one is larger?\n\nA. the first\nB. the second"),
    (None, "no image at all"),
    ("", "<image>"),
    ("You are {{ name }} <b>&amp;</b> 'so' \"called\"", "<image>{% raw %} \\n </think> {{ 1 }}"),
    (None, "  spaces  <image>\n\n  around  "),
]

TEMPLATES = {
    "internvl3-hf": """{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n'}}{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' %}{{ '<IMG_CONTEXT>\n' }}{% elif content['type'] == 'video' %}{{ '<video>\n' }}{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}{% endfor %}{% endif %}{{'<|im_end|>\n'}}{% endfor %}{% if add_generation_prompt %}{{'<|im_start|>assistant\n' }}{% endif %}""",
    "older-marker": """{% for message in messages %}{{'<|im_start|>' + message.role + '\n'}}{% for content in message.content %}{% if content.type == 'image' %}<image>
{% else %}{{ content.text }}{% endif %}{% endfor %}{{'<|im_end|>\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}""",
    "begins-with-bos": """{{ bos_token }}{% for message in messages %}
    {%- if loop.first and message['role'] != 'system' %}
        {{- '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}
    {%- endif %}
    {{- '<|im_start|>' ~ message['role'] ~ '\n' }}
    {%- for part in message['content'] if part is mapping %}
        {%- if part['type'] in ['image', 'image_url'] or 'image' in part %}
            {{- '<IMG_CONTEXT>' + '\n' }}
        {%- elif part.text is defined and part.text is not none %}
            {{- part.text }}
        {%- endif %}
    {%- endfor %}
    {{- eos_token + '\n' }}
{%- endfor %}
{%- if add_generation_prompt is defined and add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
""",
    "text-only": """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful assistant<|im_end|>\n' }}{% endif %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}""",
    "thinking": """{%- if tools %}
    {{- '<|im_start|>system\n' + (tools | tojson) }}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\n' + (messages[0].content | map(attribute='text') | join('')) + '<|im_end|>\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- macro show(content) %}
    {%- if content is string %}
        {{- content }}
    {%- else %}
        {%- for item in content %}
            {%- if item.type == 'image' %}
                {{- '<IMG_CONTEXT>\n' }}
            {%- else %}
                {{- item.text.split('</think>')[-1].lstrip('\n') }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
{%- endmacro %}
{%- for message in messages %}
    {%- if message.role == "system" and loop.first %}{% continue %}{% endif %}
    {{- '<|im_start|>' + message.role + '\n' + show(message.content) + '<|im_end|>' + '\n' }}
    {%- if loop.index0 > ns.last_query_index %}{% break %}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}""",
    "blocks-on-lines": """{% set flag = true %}
{# a comment on a line of its own #}
{% for message in messages %}
    {% if message['role'] == 'system' %}
System ({{ loop.index }} of {{ loop.length }}, {{ flag }}, {{ none }}, {{ loop.last }}): {{ message['content'][0]['text'] | trim }}
    {% else %}
  User: {% for part in message['content'] %}{% if part['type'] == 'image' %}<IMG_CONTEXT>
{% else %}{{ part['text'].strip().upper() | replace('YES', 'yes') }}{% endif %}{% endfor %}

    {% endif %}
{% endfor %}
{% generation %}
{{ messages | tojson }}{{ {'b': [1, 2.5, none, true], 'a': '中"文'} | tojson(indent=2) }}
{% endgeneration %}
{{ 'Assistant:' if add_generation_prompt else '' }} {{ messages[-1].content[-1].get('text', 'nothing')[:5].title() }}|{{ 7 // 2 }}|{{ 7 % 4 }}|{{ 'ab' in 'cab' }}|{{ undefined_name }}|""",
    "refuses-system": """{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}<start>{{ message['role'] }}
{% for part in message['content'] %}{{ part['text'] if part['type'] == 'text' else '<IMG_CONTEXT>\n' }}{% endfor %}<end>
{% endfor %}<start>model
""",
}

TOKENS = {"bos_token": "<s>", "eos_token": "<|im_end|>", "pad_token": "</s>"}


def content(text, parts):
    """A question as the content of a message: its <image> markers as images, or as the image token."""
    if not parts:
        return text.replace("<image>", "<IMG_CONTEXT>")
    found = []
    for place, piece in enumerate(text.split("<image>")):
        if place > 0:
            found.append({"type": "image"})
            piece = piece.removeprefix("\n")
        if piece:
            found.append({"type": "text", "text": piece})
    return found


cases = []
for name, source in TEMPLATES.items():
    parts = name != "text-only"
    template = _compile_jinja_template(source)
    rows = []
    for system, question in QUESTIONS:
        messages = [{"role": "user", "content": content(question, parts)}]
        if system is not None:
            messages.insert(0, {"role": "system", "content": [{"type": "text", "text": system}] if parts else system})
        try:
            prompt = template.render(messages=messages, tools=None, documents=None, add_generation_prompt=True, **TOKENS)
        except Exception as error:
            prompt = None
        rows.append({"system": system, "question": question, "prompt": prompt})
    cases.append({"name": name, "template": source, "tokens": TOKENS, "rows": rows})
OUT.parent.mkdir(parents=True, exist_ok=True)
OUT.write_text(json.dumps(cases, ensure_ascii=False, indent=1) + "\n")
print(sum(len(case["rows"]) for case in cases), "prompts")
