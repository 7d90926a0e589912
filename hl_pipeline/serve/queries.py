"""What a GraphQL document does, read off the document itself."""

from __future__ import annotations

from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse


def changes_something(text: str) -> bool:
    """Whether the document holds anything but queries and subscriptions; so does one that cannot be read."""
    try:
        document = parse(text, no_location=True)
    except (GraphQLError, RecursionError):
        return True
    return any(
        isinstance(definition, OperationDefinitionNode) and definition.operation is OperationType.MUTATION
        for definition in document.definitions
    )
