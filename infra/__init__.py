"""The template of topics, queues and tables, and what works on it."""
