"""What a user would pick instead: other stream processors, given the same events and the same model.

Each module but `process` is a program of its own. Those of other packages run in `.venv-bench`, because their pins
contradict the product's, so they import nothing of the product that talks to Kafka.
"""
