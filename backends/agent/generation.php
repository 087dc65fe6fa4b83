<?php
// Generations on the server: made and listed.

final class Generation
{
    public $id;
    public $folder;
    public $packs;
    public $summary;
    public $seal;
    /** The summary as it was sealed; `summary` has the folders as they are here. */
    public $sealed;
    /** Where it is another site's: a Move. */
    public $move = null;
    /** Where it was made in another account or folder: a Relocation. */
    public $relocation = null;
    /** Where it was brought to be rehearsed here alone: it is none of this server's, and no database of its own is touched. */
    public $visits = false;

    /** Its folder, whether or not its summary can be read. Throws no_generation. */
    public static function find(Request $request, $id)
    {
        $folder = $request->folder . '/generations/' . $id;
        if (!preg_match('/^\d{8}T\d{6}Z$/D', $id) || !is_dir($folder)) {
            throw new Failure('no_generation', "there is no generation $id on the server", 'see modoseru generations ' . $request->site);
        }
        return $folder;
    }

    /** Throws no_generation, damaged. */
    public static function open(Request $request, $id)
    {
        $self = new self();
        $self->id = $id;
        $self->lies(self::find($request, $id), $request->folder . '/packs');
        return $self->relocated($request);
    }

    /**
     * The generation that the request names: one of this server's, one that was brought to be rehearsed, or another site's
     * where it says from where. Throws as `open` does, and layout.
     */
    public static function asked(Request $request)
    {
        $incoming = $request->get('incoming');
        if ($incoming === null && $request->get('transfer') === null) {
            return self::open($request, $request->text('generation'));
        }
        $self = new self();
        $self->id = $request->text('generation');
        if (isset($incoming['summary']) && is_string($incoming['summary'])) {
            $self->read($incoming['summary']);  // its bytes are not here yet
        } else {
            $self->lies(incoming_folder($request), incoming_folder($request) . '/packs');
        }
        if ($incoming === null) {
            $self->visits = true;
            return $self->relocated($request);
        }
        $self->move = new Move($request, $self);
        $self->summary = $self->move->placed($self->summary);
        return $self;
    }

    /** The one that a summary which was brought tells of, whether or not it is here. Throws damaged. */
    public static function brought(Request $request, $text, $seal)
    {
        $id = json_decode($text, true)['generation'] ?? null;
        if (sha256($text) !== $seal || !is_string($id) || !moment_of($id)) {
            throw new Failure('damaged', 'the summary is not the one that was sealed', 'take another generation');
        }
        $self = new self();
        $self->id = $id;
        $self->folder = $request->folder . '/generations/' . $id;
        $self->packs = $request->folder . '/packs';
        $self->read($text);
        return $self;
    }

    private function lies($folder, $packs)
    {
        $this->folder = $folder;
        $this->packs = $packs;
        $this->read((string) @file_get_contents($folder . '/summary.json'));
    }

    private function relocated(Request $request)
    {
        if ($this->relocation = Relocation::of($request, $this->summary)) {
            $this->summary = $this->relocation->placed($this->summary);
        }
        return $this;
    }

    private function read($text)
    {
        $id = $this->id;
        $self = $this;
        $self->seal = sha256($text);
        $self->summary = json_decode($text, true);
        if (!is_array($self->summary) || ($self->summary['generation'] ?? '') !== $id) {
            throw new Failure('damaged', "the summary of $id is gone or cannot be read", 'take another generation');
        }
        if (($self->summary['format'] ?? 0) !== 1) {
            throw new Failure('damaged', "$id is of a newer format", 'update Modoseru');
        }
        if (!self::is_complete($self->summary)) {
            throw new Failure('damaged', "the summary of $id lacks a part", 'take another generation');
        }
        $self->sealed = $self->summary;
    }

    /** Everything that is read of a summary later is there, and of its kind. */
    private static function is_complete(array $summary)
    {
        $kinds = ['is_string' => ['created', 'reason', 'abspath'], 'is_int' => ['scanned', 'stored'],
            'is_array' => ['areas', 'database', 'counts', 'tables', 'packs', 'manifest', 'dump']];
        $parts = ['counts' => ['is_int' => ['files', 'bytes', 'tables', 'rows']], 'dump' => ['is_int' => ['size', 'plain'], 'is_string' => ['sha256']],
            'manifest' => ['is_int' => ['size'], 'is_string' => ['sha256']], 'database' => ['is_string' => ['prefix']]];
        $has = function (array $object, array $kinds) {
            foreach ($kinds as $is => $names) {
                foreach ($names as $name) {
                    if (!isset($object[$name]) || !$is($object[$name])) {
                        return false;
                    }
                }
            }
            return true;
        };
        if (!$has($summary, $kinds) || !isset($summary['areas']['root']) || array_filter($summary['areas'], 'is_string') !== $summary['areas']) {
            return false;
        }
        foreach ($parts as $part => $kinds) {
            if (!$has($summary[$part], $kinds)) {
                return false;
            }
        }
        foreach ($summary['packs'] as $pack) {
            if (!is_array($pack) || !$has($pack, ['is_string' => ['id', 'sha256'], 'is_int' => ['size']]) || !preg_match('/^\d{8}T\d{6}Z$/D', $pack['id'])) {
                return false;
            }
        }
        foreach ($summary['tables'] as $part) {
            if (!is_array($part) || !$has($part, ['is_string' => ['name', 'kind', 'sha256'], 'is_int' => ['rows', 'offset', 'stored', 'size']])) {
                return false;
            }
        }
        return (bool) strtotime($summary['created']);
    }

    /** Ids, newest first. */
    public static function ids(Request $request)
    {
        return array_values(array_filter(@scandir($request->folder . '/generations', SCANDIR_SORT_DESCENDING) ?: [], function ($name) {
            return (bool) preg_match('/^\d{8}T\d{6}Z$/', $name);
        }));
    }

    public static function newest(Request $request)
    {
        foreach (self::ids($request) as $id) {
            try {
                return self::open($request, $id);
            } catch (Failure $e) {
                continue;
            }
        }
        return null;
    }

    public function manifest()
    {
        foreach (read_manifest($this->folder . '/manifest') as $entry) {
            if (!$this->move || !$this->move->leaves($entry)) {
                yield $entry;
            }
        }
    }

    /** What a table of it is called when it is live. */
    public function lands_as($table)
    {
        return $this->move ? $this->move->lands_as($table) : $table;
    }

    /** What a generation is made of, beside its summary: size and sha256 by the names that `send` knows. */
    public function parts()
    {
        return ['manifest' => $this->summary['manifest'], 'dump' => $this->summary['dump']] + array_column($this->summary['packs'], null, 'id');
    }

    /** RESTORE.txt is as it was sealed, or as this agent words it: it is made of the summary alone. */
    public function has_recipe()
    {
        $path = $this->folder . '/RESTORE.txt';
        $hash = is_file($path) && !is_link($path) ? sha256((string) @file_get_contents($path, false, null, 0, SMALL)) : null;
        return $hash === ($this->summary['recipe']['sha256'] ?? false) || $hash === sha256(restore_by_hand($this->sealed));
    }

    /** What was brought here, against the summary: every byte, since it lay on another server and came over a third. */
    public function check_incoming(Operation $operation)
    {
        $done = 0;
        $total = array_sum(array_column($this->parts(), 'size'));
        foreach ($this->parts() as $what => $part) {
            $path = part_file($what, $this->folder, $this->packs);
            if (@filesize($path) !== $part['size'] || file_sha256($path) !== $part['sha256']) {
                @unlink($path);
                throw new Failure('damaged', "the part $what of {$this->id} is not what was sealed", 'verify it on its own server, or take another generation');
            }
            $operation->progress($done += $part['size'], $total, 'bytes');
        }
    }

    /** The manifest and the dump against the summary, without their content. */
    public function check_index(array $files = ['manifest' => 'manifest', 'dump' => 'database.sql.gz'])
    {
        foreach ($files as $key => $file) {
            $path = $this->folder . '/' . $file;
            if (@filesize($path) !== $this->summary[$key]['size'] || file_sha256($path) !== $this->summary[$key]['sha256']) {
                throw new Failure('damaged', "the $key of {$this->id} is not what was sealed", 'take another generation');
            }
        }
    }

    /** An operator's word: `clean`, `suspect` or nothing. It is not sealed, and the client keeps it too. */
    public function mark()
    {
        return trim((string) @file_get_contents($this->folder . '/mark'));
    }

    /** An operator's word outweighs the signs. */
    public function is_suspect()
    {
        return $this->mark() === '' ? !empty($this->summary['suspect']) : $this->mark() === 'suspect';
    }

    public function as_record(Damage $damage)
    {
        $verified = @file_get_contents($this->folder . '/verified');
        $counts = $this->summary['counts'];
        return ['id' => $this->id, 'tier' => 'server', 'created' => $this->summary['created'],
            'bytes' => $counts['bytes'] + $this->summary['dump']['plain'], 'files' => $counts['files'],
            'tables' => $counts['tables'], 'rows' => $counts['rows'], 'state' => $damage->spoils($this) ? 'damaged' : ($this->is_suspect() ? 'suspect' : 'complete'),
            'pinned' => is_file($this->folder . '/pinned'), 'verified_at' => $verified ?: null,
            'stored' => $this->summary['stored'], 'reason' => $this->summary['reason']];
    }
}

/** Records and seals of all generations; one that cannot be read is listed as damaged. */
function list_generations(Request $request)
{
    $records = [];
    $seals = [];
    $damage = Damage::of($request);
    foreach (Generation::ids($request) as $id) {
        try {
            $generation = Generation::open($request, $id);
            $records[] = $generation->as_record($damage);
            $seals[$id] = $generation->seal;
        } catch (Failure $e) {
            $records[] = ['id' => $id, 'tier' => 'server', 'created' => preg_replace('/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/', '$1-$2-$3T$4:$5:$6Z', $id),
                'state' => 'damaged'];
        }
    }
    return ['generations' => $records, 'summaries' => (object) $seals, 'let_go' => let_go($request)];
}

/** The operation `backup`. */
function operation_backup(Operation $operation)
{
    $made = make_generation($operation, $operation->request->text('reason', 'hand'));
    $operation->step('retention');
    let_go_of_old($operation, $made['id']);
    forget_evidence($operation->request);
    $operation->finish('done', $made['detail'], ['generation' => $made['id'], 'summary' => $made['seal']]);
}

/** Makes a generation; returns ['id', 'seal', 'detail']. It appears by one rename or not at all. */
function make_generation(Operation $operation, $reason)
{
    $request = $operation->request;
    $operation->step('prepare');
    sweep_parts($request);
    $site = Installation::find($request);
    $database = Database::open($site);
    $before = Generation::newest($request);
    $id = next_id($request);
    $scan = new Scan($request, $site, $before);
    $need = $scan->measure($operation);
    try {
        check_room($request, $need, $database);
    } catch (Failure $e) {
        // What can wait for more room must not keep a site from its backup.
        $need['bytes'] -= $scan->take_nothing_over($operation);
        check_room($request, $need, $database);
    }
    $folder = $request->folder . "/generations/.$id.part";
    make_folder($folder);
    $operation->remember('generation', $id);

    $operation->step('database');
    $dump = new Dump($database, $folder . '/database.sql.gz');
    $dumped = $dump->write($operation);
    if ($dumped['outside']) {
        $operation->note('not_transactional', count($dumped['outside']) . ' tables are not InnoDB and were read outside the snapshot: '
            . implode(', ', array_slice($dumped['outside'], 0, 5)));
    }
    $operation->step('files');
    $files = $scan->write($operation, $folder . '/manifest', $id);

    $operation->step('seal');
    $identity = identity($database);
    if ($before) {
        $scan->signs->database($before->summary['tables'], $dumped['tables'], $before->summary['identity'] ?? [], $identity);
    }
    $files['published'] = published($database);
    $scan->signs->published($before->summary['published'] ?? null, $files['published']);
    $scan->signs->facts['core_checksums'] = $scan->core->count();
    $scan->signs->facts['plugin_checksums'] = $scan->plugins->count();
    $files['suspect'] = $scan->signs->tripped((array) $request->get('signs', []));
    $files['core'] = $scan->core->as_record();
    if ($scan->core->problem() !== null && $scan->core->is_asked()) {
        $operation->note('core_unknown', "core was not compared with wordpress.org's checksums: {$scan->core->problem()}");
    }
    $files['plugins'] = $scan->plugins->as_record();
    foreach ($scan->plugins->notes() as list($word, $text, $level, $item)) {
        $operation->note($word, $text, $level, $item);
    }
    $files['facts'] = $scan->signs->facts();
    $files['versions'] = $scan->signs->versions;
    $files['identity'] = $identity;
    foreach ($files['suspect'] as $sign) {
        $operation->note('suspect', "{$sign['sign']} is {$sign['value']} (limit {$sign['limit']})"
            . ($sign['examples'] ? ': ' . implode(', ', array_slice($sign['examples'], 0, 3)) : ''), 'warning', $sign['sign']);
    }
    $summary = summarise($operation, $id, $reason, $site, $database, $dumped, $files, $folder);
    $recipe = restore_by_hand($summary);
    $summary['recipe'] = ['size' => strlen($recipe), 'sha256' => sha256($recipe)];
    $text = json($summary);
    write_durably($folder . '/RESTORE.txt', $recipe, 0400);
    write_durably($folder . '/summary.json', $text, 0400);
    foreach (['manifest', 'database.sql.gz'] as $file) {
        chmod("$folder/$file", 0400);
    }
    sync_folder($folder);
    if (!@rename($folder, $request->folder . "/generations/$id")) {
        throw new Failure('no_space', 'cannot keep the generation: ' . last_error('unknown reason'));
    }
    sync_folder($request->folder . '/generations');
    $made = Generation::open($request, $id);
    $made->check_index();
    return ['id' => $id, 'seal' => $made->seal, 'detail' => sprintf('%d files, %d tables, %d new bytes stored',
        $summary['counts']['files'], $summary['counts']['tables'], $summary['stored'])];
}

function summarise(Operation $operation, $id, $reason, Installation $site, Database $database, array $dumped, array $files, $folder)
{
    $tables = array_values(array_filter($dumped['tables'], function ($part) {
        return $part['kind'] === 'table';
    }));
    $stored = ($files['pack']['size'] ?? 0) + $files['manifest'] + $dumped['size'];
    return ['format' => 1, 'generation' => $id, 'site' => $operation->request->site, 'url' => $operation->request->text('url', ''),
        'front' => $operation->request->get('front'), 'wordpress' => wordpress_of($site->abspath),
        'created' => preg_replace('/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/', '$1-$2-$3T$4:$5:$6Z', $id), 'reason' => $reason,
        'scanned' => $files['scanned'], 'agent' => substr(basename(__FILE__), 6, 16), 'php' => PHP_VERSION,
        'areas' => $site->areas(), 'abspath' => $site->abspath,
        'database' => ['engine' => $database->engine, 'version' => $database->version, 'name' => $database->name,
            'prefix' => $database->prefix],
        'counts' => ['files' => $files['files'], 'folders' => $files['folders'], 'links' => $files['links'], 'bytes' => $files['bytes'],
            'tables' => count($tables), 'rows' => array_sum(array_column($tables, 'rows'))],
        'tables' => $dumped['tables'], 'packs' => $files['packs'],
        'manifest' => ['size' => $files['manifest'], 'sha256' => file_sha256($folder . '/manifest')],
        'dump' => ['size' => $dumped['size'], 'sha256' => file_sha256($folder . '/database.sql.gz'), 'plain' => $dumped['plain']],
        'stored' => $stored, 'skipped' => $files['skipped'], 'identity' => (object) $files['identity'], 'facts' => $files['facts'],
        'suspect' => $files['suspect'], 'full' => $files['full'], 'versions' => (object) $files['versions'], 'published' => $files['published'],
        'core' => $files['core'], 'plugins' => $files['plugins']];
}

/** Ids never repeat or go backwards, also when the clock does or the newest generation was let go. */
function next_id(Request $request)
{
    $last = trim((string) @file_get_contents($request->folder . '/last-id'));
    $id = later_id(max(moment_of($last) ? $last : '', Generation::ids($request)[0] ?? ''));
    write_durably($request->folder . '/last-id', $id);
    return $id;
}

/** Now, or a second after `$newest` where the clock says it is not later than that. */
function later_id($newest)
{
    $id = gmdate('Ymd\THis\Z');
    $moment = moment_of($newest);
    return !$moment || strcmp($id, $newest) > 0 ? $id : $moment->modify('+1 second')->format('Ymd\THis\Z');
}

/** The time that an id tells; null for what is no id, also where it looks like one (a 99th day). */
function moment_of($id)
{
    $moment = preg_match('/^\d{8}T\d{6}Z$/D', $id) ? DateTime::createFromFormat('Ymd\THis\Z', $id, new DateTimeZone('UTC')) : false;
    return $moment && $moment->format('Ymd\THis\Z') === $id ? $moment : null;
}

/** `$need` bytes and entries must fit the disk and the configured quotas, with something to spare. */
function check_room(Request $request, array $need, $database = null)
{
    $bytes = $need['bytes'];
    if ($database) {
        $bytes += (int) (array_sum(array_column($database->tables(), 'bytes')) / 2);
    }
    $free = @disk_free_space($request->folder);
    $spare = DISK_SPARE;
    if ($free !== false && $bytes + $spare > $free) {
        throw new Failure('no_space', sprintf('%s are needed and the server has %s free', size_text($bytes + $spare), size_text($free)),
            'free some space in the account, or keep fewer generations');
    }
    $most = $request->get('bytes_max');
    if ($most !== null && $bytes + $need['used'] > $most) {
        throw new Failure('no_space', sprintf('%s are needed and the quota of %s has %s left', size_text($bytes), size_text($most),
            size_text(max(0, $most - $need['used']))), 'free some space in the account, or keep fewer generations');
    }
    $most = $request->get('files_max');
    if ($most !== null && $need['entries'] > $most) {
        throw new Failure('no_space', "the account may hold $most files and would hold {$need['entries']}", 'remove some files');
    }
}

function size_text($bytes)
{
    for ($unit = 0; $bytes >= 1000 && $unit < 4; $unit++) {
        $bytes /= 1000;
    }
    return sprintf($unit ? '%.1f %s' : '%d %s', $bytes, ['bytes', 'kB', 'MB', 'GB', 'TB'][$unit]);
}

/** Half-made packs, generations and staged trees of interrupted runs. Called under the lock. */
function sweep_parts(Request $request)
{
    foreach (['generations', 'packs'] as $sub) {
        foreach (@scandir($request->folder . '/' . $sub) ?: [] as $name) {
            if (preg_match('/^\..*\.part$/', $name)) {
                remove_tree($request->folder . "/$sub/$name");
            }
        }
    }
    $needed = needed_packs($request);
    foreach ($needed === null ? [] : (@scandir($request->folder . '/packs') ?: []) as $name) {
        // Of a generation that never appeared, or of one that was let go by a process that died over it.
        if (preg_match('/^(\d{8}T\d{6}Z)\.tar$/', $name, $found) && !isset($needed[$found[1]])) {
            remove_tree($request->folder . "/packs/$name");
        }
    }
    forget_incoming($request);
    sweep_pages($request);
}
