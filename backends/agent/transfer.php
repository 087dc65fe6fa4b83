<?php
// Bytes of a generation on their way: `send` gives a part of one, `receive` takes one into `incoming/`. Nothing here
// decides what becomes of them: until every hash of the summary was compared they are nobody's generation.

/** Seconds after which a transfer that nobody came back for is let go. */
const INCOMING_S = 259200;
/** Seconds that a part waits for the process that took it before: it ends when it sees that its connection is gone. */
const TURN_S = 15;
/** Seconds without a byte after which the sender is taken for gone. */
const QUIET_S = 120;
/** Bytes after which what was received is brought to the disk: a cut loses no more, and the end is not all of the work. */
const SYNCED_EVERY = 67108864;

/** The file that `what` names (`summary`, `manifest`, `dump` or a pack's id), in the folders of a generation. */
function part_file($what, $folder, $packs)
{
    $files = ['summary' => 'summary.json', 'manifest' => 'manifest', 'dump' => 'database.sql.gz'];
    if (isset($files[$what])) {
        return "$folder/{$files[$what]}";
    }
    if (!preg_match('/^\d{8}T\d{6}Z$/D', $what)) {
        throw new Failure('bad_request', 'a generation has no such part', 'summary, manifest, dump or the id of a pack');
    }
    return "$packs/$what.tar";
}

/** Pieces, each behind a line that says how long it is: so what goes wrong half-way can still be said. */
function answer_send(Request $request)
{
    $folder = Generation::find($request, $request->text('generation'));
    $what = $request->text('what');
    $in = @fopen(part_file($what, $folder, $request->folder . '/packs'), 'rb');
    if (!$in) {
        throw new Failure('damaged', "the part $what of the generation cannot be read: " . last_error('unknown reason'), 'take another generation');
    }
    $size = fstat($in)['size'];
    $at = $request->whole('offset', 0);
    if ($at < 0 || $at > $size) {
        throw new Failure('bad_request', 'the part has no such place', 'ask for it from its beginning');
    }
    fseek($in, $at);
    for (; $at < $size; $at += strlen($piece)) {
        $piece = (string) fread($in, min(CHUNK, $size - $at));
        if ($piece === '') {
            throw new Failure('damaged', "the part $what of the generation ends early: " . last_error('it became shorter'), 'take another generation');
        }
        say($request->marker, ['piece' => ['length' => strlen($piece)]]);
        write_all(STDOUT, $piece, 'the answer');
    }
    return ['size' => $size];
}

/** Where a transfer lies; its name is made by the client and is the same when it comes back. */
function incoming_folder(Request $request)
{
    $transfer = $request->text('transfer');
    if (!preg_match('/^[0-9a-f]{16,64}$/D', $transfer)) {
        throw new Failure('bad_request', 'the name of a transfer is 16 to 64 hex digits', 'update Modoseru');
    }
    return $request->folder . '/incoming/' . $transfer;
}

/**
 * Takes what follows the request's line on stdin, from `offset` on; without it only says how much is there. `size` is what
 * the part has when it is whole: what is longer is of something else and begins anew.
 */
function answer_receive(Request $request)
{
    $folder = incoming_folder($request);
    $size = $request->whole('size');
    $path = part_file($request->text('what'), $folder, "$folder/packs");
    make_folder("$folder/packs");
    $out = @fopen($path, 'c+b');
    if (!$out) {
        throw new Failure('no_state', "$path cannot be written: " . last_error('unknown reason'), 'look at the permissions and the quota');
    }
    @touch($folder);
    $at = $request->get('offset');
    // How much is there is told to whoever asks, and a process that a dead connection left behind takes no more.
    $at === null || hold_alone($out);
    $there = fstat($out)['size'];
    if ($at === null) {
        forget_incoming($request);
        if ($there > $size) {
            ftruncate($out, $there = 0);
        }
        need_room($folder, $size - $there);
        return ['size' => $there];
    }
    if (!is_int($at) || $at < 0 || $at > $there) {
        throw new Failure('bad_request', 'what was sent does not fit what is there', 'ask how much is there');
    }
    ftruncate($out, $at);
    fseek($out, $at);
    stream_set_read_buffer(STDIN, 0);  // else PHP takes 8 KiB at a time
    for ($synced = $at; comes_more(STDIN) && ($piece = (string) fread(STDIN, CHUNK)) !== ''; $at += strlen($piece)) {
        if ($at + strlen($piece) > $size) {
            throw new Failure('bad_request', 'more was sent than the part has', 'ask how much is there');
        }
        write_all($out, $piece, $path);
        if ($at - $synced >= SYNCED_EVERY) {
            sync_handle($out, $path);
            $synced = $at;
        }
    }
    sync_handle($out, $path);
    fclose($out);
    return ['size' => $at];
}

/** False where nothing has come for so long that whoever sent it is gone; its connection may not know that for hours. */
function comes_more($stream)
{
    $read = [$stream];
    $write = $except = null;
    return (bool) @stream_select($read, $write, $except, QUIET_S);
}

/**
 * Whoever came back after a cut may be faster than the process that its connection left behind. Where there are no locks
 * two clients may bring one part at once: the whole is compared before anybody uses it.
 */
function hold_alone($file)
{
    for ($until = microtime(true) + TURN_S; !flock($file, LOCK_EX | LOCK_NB, $busy) && $busy; usleep(3000)) {
        if (microtime(true) > $until) {
            throw new Failure('busy', 'another client brings this part', 'try again in a moment');
        }
    }
}

/** Throws no_space where `$bytes` more below `$folder` would fill the disk. */
function need_room($folder, $bytes)
{
    $free = @disk_free_space($folder);
    if ($free !== false && $bytes + 16777216 > $free) {
        throw new Failure('no_space', sprintf('the transfer needs %s and %s is free', size_text($bytes), size_text($free)), 'free some space in the account');
    }
}

/** Transfers that nobody came back for, and the one that an operation is done with. */
function forget_incoming(Request $request, $transfer = null)
{
    foreach (@scandir($request->folder . '/incoming') ?: [] as $name) {
        $folder = $request->folder . "/incoming/$name";
        if ($name[0] !== '.' && ($name === $transfer || time() - (int) @filemtime($folder) > INCOMING_S)) {
            remove_tree($folder);
        }
    }
}
