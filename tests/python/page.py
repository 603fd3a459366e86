"""A browser that does what it is told, for the page of the WebSocket gateway.

Takes an order per line, a list in JSON: the name of a method of `chromium.Browser` and its arguments. Answers each with DONE and
what came of it, or FAILED and why.
"""
import json
import sys

from chromium import Browser, Failed

try:
    with Browser() as browser:
        browser.window(1280, 900)
        print("READY", flush=True)
        for order in sys.stdin:
            name, *arguments = json.loads(order)
            try:
                print("DONE", json.dumps(getattr(browser, name)(*arguments)), flush=True)
            except Failed as failure:
                print("FAILED", failure, flush=True)
except Failed as failure:
    sys.exit(f"page.py: {failure}")
