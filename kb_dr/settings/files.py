"""Where settings come from: the environment, a file of variables, a YAML file."""

from pathlib import Path

from kb_dr.errors import ConfigurationError


def with_files(given: dict[str, str], env_file: Path | None) -> dict[str, str]:
    values: dict[str, str] = {}
    yaml_file = Path(given.get("KB_DR_CONFIG", "kb_dr.yaml"))
    if "KB_DR_CONFIG" in given or yaml_file.is_file():
        values.update(_read_yaml(yaml_file))
    if env_file is not None:
        values.update(_read_env(env_file))
    values.update(given)
    return values


def _read_yaml(file: Path) -> dict[str, str]:
    import yaml  # only where there is such a file: half of this module's import time

    hint = "It is kb_dr.yaml here, or what KB_DR_CONFIG names; lines of the form NAME: value."
    try:
        loaded = yaml.safe_load(file.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"read {file}: {error.strerror}", hint=hint) from error
    except (yaml.YAMLError, ValueError) as error:
        # Its own words would quote the line, and with it a secret.
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise ConfigurationError(f"read {file}: this is no YAML{where}", hint=hint) from None
    if not isinstance(loaded, dict):
        raise ConfigurationError(f"read {file}: expected lines of the form NAME: value", hint=hint)
    return {str(name): str(value) for name, value in loaded.items()}


def _read_env(file: Path) -> dict[str, str]:
    from dotenv.parser import parse_stream

    hint = "Check --env-file (or KB_DR_ENV_FILE); lines of the form NAME=value."
    try:
        if not file.is_file():
            raise ConfigurationError(f"read {file}: no such file", hint=hint)
        with file.open(encoding="utf-8") as stream:
            read = list(parse_stream(stream))
    except OSError as error:
        raise ConfigurationError(f"read {file}: {error.strerror}", hint=hint) from error
    except ValueError as error:
        raise ConfigurationError(f"read {file}: it is not text", hint=hint) from error
    bad = [line.original.line for line in read if line.error]
    if bad:
        # Never passed over: the default of the setting it was meant for could be another place.
        raise ConfigurationError(f"read {file}: line {bad[0]} makes no sense", hint=hint)
    return {line.key: line.value for line in read if line.key and line.value is not None}
