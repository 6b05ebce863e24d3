import type { Command } from '#cli/command.ts';

/** A bash completion script for `xcaas` and the short programs, made from the table of commands: `source <(xcaas completion)`. */
export function completionScript(commands: readonly Command[]): string {
  const next = new Map<string, Set<string>>();
  const add = (key: string, word: string) => {
    const words = next.get(key) ?? new Set();
    next.set(key, words.add(word));
  };
  for (const command of commands) {
    command.path.forEach((word, index) => {
      add(command.path.slice(0, index).join(' '), word);
    });
    const flags = (command.options ?? []).flatMap((option) => option.flags.match(/--?[a-z][a-z_-]*/g) ?? []);
    for (const flag of [...flags, '--json', '--timeout', '--help', ...(command.changes ? ['--no-wait'] : [])])
      add(command.path.join(' '), flag);
  }
  const cases = [...next].map(([key, words]) => `    ${JSON.stringify(key)}) words=${JSON.stringify([...words].join(' '))} ;;`);
  return [
    '_xcaas() {',
    '  local name="${1##*/}" key="" word words="" i',
    '  case "$name" in db|lb|cache|fs) key="$name" ;; esac',
    '  for ((i = 1; i < COMP_CWORD; i++)); do',
    '    word="${COMP_WORDS[i]}"',
    '    case "$word" in -*) continue ;; esac',
    '    if _xcaas_known "${key:+$key }$word"; then key="${key:+$key }$word"; fi',
    '  done',
    '  case "$key" in',
    ...cases,
    '  esac',
    '  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))',
    '}',
    '_xcaas_known() {',
    '  case "$1" in',
    `    ${[...next.keys()]
      .filter((key) => key !== '')
      .map((key) => JSON.stringify(key))
      .join('|')}) return 0 ;;`,
    '  esac',
    '  return 1',
    '}',
    'complete -F _xcaas xcaas db lb cache fs',
    '',
  ].join('\n');
}
