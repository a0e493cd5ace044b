"""How Hydra reads the files that a recipe builds on: within the limits of `yaml_limits`, with one message."""

from __future__ import annotations

from pathlib import Path

from hydra._internal.core_plugins.file_config_source import FileConfigSource as _Unlimited
from hydra._internal.sources_registry import SourcesRegistry
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigResult


class FileConfigSource(_Unlimited):
    """Hydra's own reader of files, whose name it needs to be taken for."""

    def load_config(self, config_path: str) -> ConfigResult:
        """Read a file.

        Raises:
            HydraException: It is no YAML, or holds too much.
        """
        import yaml

        from codctl.config.yaml_limits import excess_of

        path = Path(self.path, self._normalize_file_name(config_path)).resolve()
        if not path.is_file():
            return super().load_config(config_path)  # which says that it is not there
        try:
            excess = excess_of(path.read_text(encoding="utf-8"))
            if excess is None:
                return super().load_config(config_path)
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise HydraException(f"{path}: broken YAML: {error}") from None
        raise HydraException(f"{path}:{excess.line}: {excess.message}")


def bound() -> None:
    """Let Hydra read files in this way."""
    SourcesRegistry.instance().types["file"] = FileConfigSource
