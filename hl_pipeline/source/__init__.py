"""The exchange's REST side: the client that asks, and the decoders that judge what comes back.

Belongs here: requests, retries, deadlines, turning bytes into model types.
Does not belong here: SQL, deciding what to ask for, deciding what is final.
"""
