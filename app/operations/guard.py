"""The one door through which every operation starts. No key binding and no command goes round it.

It checks read-only mode, confirmation and what this process knows to be running, then launches the verb on the site's
server (which holds the lock that binds everybody), keeps the journal, and answers when the server asks for a look.
"""
