"""Legal servers, drawn: a seed decides every point that no source settles.

``points`` has the table, ``answers`` what some choices do, ``between`` what stands in front of a server. The
other choices are looked up where the server decides.
"""
