"""How SmolVLM wants a conversation written (its own chat template), with a picture's address where the picture goes.

llama-cpp-python does not use a model's own template where there are pictures; xllamacpp and servers do.
"""

CHAT_FORMAT = (
    "<|im_start|>{% for message in messages %}{{ message.role | capitalize }}:"
    "{% if message.content is string %} {{ message.content }}{% else %}"
    "{% for part in message.content %}"
    "{% if part.type == 'image_url' %}"
    "{{ part.image_url if part.image_url is string else part.image_url.url }}"
    "{% else %} {{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""A Jinja template, rendered by the library with ``messages`` and ``add_generation_prompt``."""
