"""Reading recordings: tables as loggers and exports write them, whatever their dialect, as columns of text and numbers.

`fleet replay` and the backtests read with it. What a signal means is not known here.
"""
