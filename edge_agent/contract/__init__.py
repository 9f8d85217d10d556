"""The plant contract: topics, envelope and payloads, from one source. See docs/topics.md.

Job orders and job responses use the field names of ISA-95. "The Business To Manufacturing Markup Language (B2MML) is
used courtesy of MESA International."
"""
