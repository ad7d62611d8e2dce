"""The API of docs/api.md: models, chat and events under /api/v2."""
