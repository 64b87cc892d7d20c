"""Everything that the function app does, behind the triggers in function_app.py."""
