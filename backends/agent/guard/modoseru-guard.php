<?php
/*
Plugin Name: Modoseru Guard
Description: Slows down who guesses passwords, and writes down who did what. It has no settings here: modoseru guard install and remove.
Version: 1
*/

if (defined('ABSPATH')) {
    Modoseru_Guard::begin(json_decode('{{settings}}', true));
}

/**
 * Counts failed logins in two files of its own and nowhere else. A page that nobody logs in by reads neither of them, and
 * what cannot be read or written counts as nothing: a full disk locks nobody out.
 */
final class Modoseru_Guard
{
    const HEAD = "<?php exit; ?>\n";
    const KEPT = 2000;
    const LOG_BYTES = 524288;
    /** Seconds for which an address is known to be that of an account. */
    const KNOWN_S = 2592000;
    const DEEDS = ['siteurl', 'home', 'admin_email', 'users_can_register', 'default_role', 'blog_public', 'template', 'stylesheet'];

    private static $set = [];
    private static $client = false;

    public static function begin($settings)
    {
        if (!is_array($settings)) {
            return;
        }
        self::$set = $settings;
        if (PHP_SAPI !== 'cli') {
            self::guard();
        }
        self::watch();
    }

    private static function guard()
    {
        add_filter('authenticate', [__CLASS__, 'before_password'], 1, 2);
        add_filter('determine_current_user', [__CLASS__, 'before_application_password'], 1);
        add_action('wp_login_failed', [__CLASS__, 'failed'], 10, 1);
        add_action('application_password_failed_authentication', [__CLASS__, 'failed_application_password']);
        add_filter('rest_request_before_callbacks', [__CLASS__, 'rest'], 1, 3);
        add_filter('oembed_response_data', [__CLASS__, 'oembed'], 99);
        add_filter('wp_sitemaps_add_provider', [__CLASS__, 'sitemap'], 99, 2);
        add_action('template_redirect', [__CLASS__, 'author'], 0);
        add_filter('xmlrpc_methods', [__CLASS__, 'xmlrpc_methods'], 99);
        if (defined('XMLRPC_REQUEST') && XMLRPC_REQUEST) {
            self::xmlrpc();
        } elseif (($_SERVER['REQUEST_METHOD'] ?? '') === 'POST' && basename($_SERVER['SCRIPT_NAME'] ?? '') === 'wp-login.php') {
            self::refuse_if_blocked('');
        }
    }

    // ------------------------------------------------------------ who asks

    /** The client's address as counted: IPv4, or the /64 of an IPv6. '' where nobody can tell: it is counted nowhere. */
    public static function client()
    {
        if (self::$client === false) {
            $address = self::address();
            self::$client = $address === null ? '' : self::key($address);
        }
        return self::$client;
    }

    /** Packed. X-Forwarded-For counts as far as trusted proxies wrote it: from its end, up to the first that is none. */
    private static function address()
    {
        $address = self::packed($_SERVER['REMOTE_ADDR'] ?? '');
        $hops = array_slice(array_reverse(explode(',', $_SERVER['HTTP_X_FORWARDED_FOR'] ?? '')), 0, 20);
        while ($address !== null && $hops && self::within($address, self::$set['proxies'])) {
            $hop = trim((string) array_shift($hops));
            if ($hop === '') {
                break;
            }
            $address = self::packed($hop);
        }
        return $address;
    }

    private static function packed($text)
    {
        if (preg_match('/^\[([0-9A-Fa-f:.]+)\](?::\d+)?$/D', $text, $found) || preg_match('/^(\d+\.\d+\.\d+\.\d+):\d+$/D', $text, $found)) {
            $text = $found[1];
        }
        $packed = filter_var($text, FILTER_VALIDATE_IP) === false ? false : inet_pton($text);
        if ($packed === false) {
            return null;
        }
        return strlen($packed) === 16 && strncmp($packed, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) === 0 ? substr($packed, 12) : $packed;
    }

    private static function key($packed)
    {
        return strlen($packed) === 4 ? inet_ntop($packed) : inet_ntop(substr($packed, 0, 8) . str_repeat("\0", 8)) . '/64';
    }

    private static function within($packed, array $networks)
    {
        foreach ($networks as $network) {
            $parts = explode('/', $network);
            $base = self::packed($parts[0]);
            if ($base === null || strlen($base) !== strlen($packed)) {
                continue;
            }
            $bits = isset($parts[1]) ? (int) $parts[1] : 8 * strlen($base);
            $mask = str_pad(str_repeat("\xff", $bits >> 3) . ($bits & 7 ? chr(0xff00 >> ($bits & 7) & 0xff) : ''), strlen($base), "\0");
            if (($packed & $mask) === ($base & $mask)) {
                return true;
            }
        }
        return false;
    }

    private static function is_allowed()
    {
        $address = self::address();
        return $address !== null && self::within($address, self::$set['allow']);
    }

    /** One name for one account, whether its login or its address was typed. */
    private static function account($typed)
    {
        $typed = is_string($typed) ? trim($typed) : '';
        $user = $typed === '' ? false : get_user_by(strpos($typed, '@') ? 'email' : 'login', $typed);
        return self::harmless($user ? $user->user_login : strtolower($typed), 60);
    }

    // ------------------------------------------------------------ blocks

    /** A name that is asked at the door; the password was not looked at. */
    public static function before_password($user, $name)
    {
        if (is_string($name) && $name !== '') {
            self::refuse_if_blocked($name);
        }
        return $user;
    }

    public static function before_application_password($user)
    {
        if (!$user && isset($_SERVER['PHP_AUTH_USER']) && ((defined('REST_REQUEST') && REST_REQUEST) || (defined('XMLRPC_REQUEST') && XMLRPC_REQUEST))) {
            self::refuse_if_blocked((string) $_SERVER['PHP_AUTH_USER']);
        }
        return $user;
    }

    /** Who has logged in to an account from this address lately is not kept out by others who guess at it. */
    private static function refuse_if_blocked($name)
    {
        if (self::is_allowed()) {
            return;
        }
        $state = self::read();
        $account = $name === '' ? '' : self::account($name);
        $now = time();
        $until = self::client() === '' ? 0 : (int) ($state['rows']['a:' . self::client()]['u'] ?? 0);
        if ($account !== '' && !isset($state['known'][self::known($account)])) {
            $until = max($until, (int) ($state['rows']["u:$account"]['u'] ?? 0));
        }
        if ($until > $now) {
            self::refuse(429, $until - $now);
        }
    }

    private static function known($account)
    {
        return $account . ' ' . self::client();
    }

    public static function failed($name)
    {
        if (self::is_allowed()) {
            return;
        }
        $account = self::account($name);
        $limits = [];
        if (self::client() !== '') {
            $limits['a:' . self::client()] = self::$set['address'];
        }
        if ($account !== '') {
            $limits["u:$account"] = self::$set['account'];
        }
        self::note('attacks', 'login_failed', $account);
        self::count($limits, self::$set['window_s']);
    }

    /** A name that does not exist is no guess: a staging site's own Basic login arrives here with every request. */
    public static function failed_application_password($error)
    {
        if (is_wp_error($error) && $error->get_error_code() === 'incorrect_password') {
            self::failed((string) ($_SERVER['PHP_AUTH_USER'] ?? ''));
        }
    }

    /** Adds one to each row, `$limits` by key, and blocks those that reach theirs, each time for twice as long. */
    private static function count(array $limits, $window)
    {
        self::change(function (array $state) use ($limits, $window) {
            $now = time();
            foreach ($limits as $key => $limit) {
                $row = ($state['rows'][$key] ?? []) + ['n' => 0, 't' => $now, 'l' => 0, 'u' => 0];
                if ($now - $row['t'] > $window || $row['t'] > $now) {
                    $row['n'] = 0;
                    $row['t'] = $now;
                }
                if ($row['u'] && $now - $row['u'] > 2 * self::$set['longest_s']) {
                    $row['l'] = 0;
                }
                if (++$row['n'] >= $limit) {
                    $row['u'] = max((int) $row['u'], $now + min(self::$set['longest_s'], self::$set['block_s'] * (1 << min(20, $row['l']))));
                    $row['n'] = 0;
                    $row['t'] = $now;
                    $row['l']++;
                    $state['blocked'] = ($state['blocked'] ?? 0) + 1;
                    self::note('attacks', 'blocked', $key, ['until' => $row['u']]);
                }
                unset($state['rows'][$key]);
                $state['rows'][$key] = $row;
            }
            $state['failed'] = ($state['failed'] ?? 0) + count($limits);
            return $state;
        });
    }

    private static function refuse($status, $seconds = 0)
    {
        status_header($status);
        nocache_headers();
        header('Content-Type: text/html; charset=utf-8');
        if ($seconds) {
            header('Retry-After: ' . (int) $seconds);
        }
        echo '<!doctype html><meta charset="utf-8"><title>', (int) $status, '</title><p>', $status === 429
            ? 'ログインの失敗が続いたため、しばらく受け付けません。 Too many failed logins; please try again later.'
            : 'この操作は受け付けていません。 This is not answered here.', '</p>';
        exit;
    }

    // ------------------------------------------------------------ xmlrpc and who the users are

    private static function xmlrpc()
    {
        self::refuse_if_blocked('');
        if (self::is_allowed()) {
            return;
        }
        $body = (string) @file_get_contents('php://input', false, null, 0, 1048576);
        if (stripos(html_entity_decode($body, ENT_QUOTES, 'UTF-8'), 'system.multicall') !== false) {
            self::note('attacks', 'multicall', '');
            self::refuse(403);
        }
        if (self::client() !== '') {
            self::count(['a:' . self::client() . ' xmlrpc' => self::$set['xmlrpc']], 60);
            $until = (int) (self::read()['rows']['a:' . self::client() . ' xmlrpc']['u'] ?? 0);
            if ($until > time()) {
                self::refuse(429, $until - time());
            }
        }
    }

    public static function xmlrpc_methods($methods)
    {
        return array_diff_key((array) $methods, ['pingback.ping' => 1, 'pingback.extensions.getPingbacks' => 1]);
    }

    public static function author()
    {
        $asked = $_GET['author'] ?? null;
        if (is_array($asked) || (is_string($asked) && preg_match('/^\s*[-+]?\d/', $asked))) {
            if (!is_user_logged_in() && !self::is_allowed()) {
                self::note('attacks', 'enumeration', 'author');
                self::refuse(403);
            }
        }
    }

    public static function rest($response, $handler, $request)
    {
        if (!is_wp_error($response) && preg_match('~^/wp/v2/users(?:/(?!me$)|$)~i', $request->get_route()) && !is_user_logged_in() && !self::is_allowed()) {
            return new WP_Error('rest_user_cannot_view', 'Not answered here.', ['status' => 401]);
        }
        return $response;
    }

    public static function oembed($data)
    {
        return is_user_logged_in() || !is_array($data) ? $data : array_diff_key($data, ['author_name' => 1, 'author_url' => 1]);
    }

    public static function sitemap($provider, $name)
    {
        return $name === 'users' ? false : $provider;
    }

    // ------------------------------------------------------------ who did what

    private static function watch()
    {
        add_action('wp_login', function ($name) {
            $account = self::account($name);
            self::note('deeds', 'login', $account, [], $account);
            self::is_allowed() || self::client() === '' || self::change(function (array $state) use ($account) {
                unset($state['known'][self::known($account)]);
                $state['known'][self::known($account)] = time();
                return $state;
            });
        });
        add_action('transition_post_status', function ($new, $old, $post) {
            $word = $new === 'trash' && $old !== 'trash' ? 'post_trashed' : ($new === 'publish' ? ($old === 'publish' ? 'post_changed' : 'post_published')
                : ($old === 'publish' ? 'post_withdrawn' : ($old === 'trash' ? 'post_restored' : '')));
            $word === '' || self::is_inner($post) || self::note('deeds', $word, $post->post_title, ['id' => $post->ID, 'type' => $post->post_type]);
        }, 10, 3);
        $deleted = function ($id) {
            $post = get_post($id);
            !$post || self::is_inner($post) || self::note('deeds', 'post_deleted', $post->post_title, ['id' => $post->ID, 'type' => $post->post_type]);
        };
        add_action('before_delete_post', $deleted);
        add_action('delete_attachment', $deleted);
        $user = function ($word) {
            return function ($id) use ($word) {
                $user = get_userdata($id);
                self::note('deeds', $word, $user ? $user->user_login : '', ['id' => (int) $id]);
            };
        };
        add_action('user_register', $user('user_created'));
        add_action('profile_update', $user('user_changed'));
        add_action('delete_user', $user('user_deleted'));
        add_action('wpmu_delete_user', $user('user_deleted'));
        add_action('set_user_role', function ($id, $role) {
            $user = get_userdata($id);
            self::note('deeds', 'user_role', $user ? $user->user_login : '', ['id' => (int) $id, 'to' => $role]);
        }, 10, 2);
        foreach (['activated_plugin' => 'plugin_activated', 'deactivated_plugin' => 'plugin_deactivated', 'delete_plugin' => 'plugin_deleted',
            'switch_theme' => 'theme_activated', 'delete_theme' => 'theme_deleted'] as $action => $word) {
            add_action($action, function ($what) use ($word) {
                self::note('deeds', $word, $what);
            });
        }
        add_action('upgrader_process_complete', function ($upgrader, $done) {
            $type = (string) ($done['type'] ?? '');
            $what = $done['plugins'] ?? $done['themes'] ?? $done['plugin'] ?? $done['theme'] ?? (is_object($upgrader) && !empty($upgrader->result['destination_name']) ? $upgrader->result['destination_name'] : $type);
            foreach (array_slice((array) $what, 0, 50) as $one) {
                self::note('deeds', $type . (($done['action'] ?? '') === 'install' ? '_installed' : '_updated'), $one);
            }
        }, 10, 2);
        add_action('updated_option', function ($name, $old, $new) {
            in_array($name, self::DEEDS, true) && self::note('deeds', 'option', $name, ['to' => is_scalar($new) ? (string) $new : '']);
        }, 10, 3);
    }

    private static function is_inner($post)
    {
        return in_array($post->post_type, ['revision', 'customize_changeset', 'oembed_cache', 'user_request'], true) || $post->post_status === 'auto-draft';
    }

    /** One line of `deeds` or `attacks`; each is kept twice LOG_BYTES at the most, the older half as NAME.1.php. */
    private static function note($log, $word, $what, array $more = [], $user = null)
    {
        if ($user === null && $log === 'deeds') {
            $now = function_exists('wp_get_current_user') ? wp_get_current_user() : null;
            $user = $now && $now->ID ? $now->user_login : '';
        }
        $line = ['at' => gmdate('Y-m-d\TH:i:s\Z'), 'event' => $word, 'what' => self::harmless($what, 200), 'user' => self::harmless((string) $user, 60),
            'address' => PHP_SAPI === 'cli' ? 'cli' : self::client()];
        foreach ($more as $key => $value) {
            $line[$key] = is_int($value) ? $value : self::harmless($value, 200);
        }
        $folder = self::folder();
        $handle = $folder === null ? false : @fopen("$folder/$log.php", 'cb');
        if (!$handle || !flock($handle, LOCK_EX)) {
            return;
        }
        $size = (int) fstat($handle)['size'];
        if ($size > self::LOG_BYTES && @copy("$folder/$log.php", "$folder/$log.1.php")) {
            ftruncate($handle, 0);
            $size = 0;
        }
        if ($size <= self::LOG_BYTES) {
            fseek($handle, 0, SEEK_END);
            $text = ($size ? '' : self::HEAD) . json_encode($line, JSON_HEX_TAG | JSON_INVALID_UTF8_SUBSTITUTE) . "\n";
            if (@fwrite($handle, $text) !== strlen($text)) {
                ftruncate($handle, $size);
            }
        }
        fclose($handle);
    }

    private static function harmless($text, $most)
    {
        $text = is_scalar($text) ? substr((string) $text, 0, 4 * $most) : '';
        $clean = preg_replace('/[\p{C}\p{Zl}\p{Zp}]+/u', ' ', $text);
        $clean = is_string($clean) ? $clean : preg_replace('/[^\x20-\x7e]+/', '?', $text);
        return preg_match('/^.{0,' . $most . '}/us', $clean, $found) ? $found[0] : '';
    }

    // ------------------------------------------------------------ what is kept

    /** The first of the folders that the web may write to; null where there is none. The last may be made here. */
    private static function folder()
    {
        foreach (self::$set['folders'] as $number => $folder) {
            if (@is_dir($folder) || ($number && @mkdir($folder, 0755))) {
                if (@is_writable($folder)) {
                    $number === 0 || is_file("$folder/.htaccess") || @file_put_contents("$folder/.htaccess", self::DENY);
                    return $folder;
                }
            }
        }
        return null;
    }

    const DENY = "<IfModule mod_authz_core.c>\nRequire all denied\n</IfModule>\n<IfModule !mod_authz_core.c>\nDeny from all\n</IfModule>\n";

    private static function read($folder = null)
    {
        $folder = $folder ?? self::folder();
        $text = $folder === null ? '' : (string) @file_get_contents("$folder/state.php", false, null, strlen(self::HEAD), 4194304);
        $state = json_decode($text, true);
        $state = is_array($state) ? $state : [];
        foreach (['rows', 'known'] as $part) {
            $state[$part] = is_array($state[$part] ?? null) ? $state[$part] : [];
        }
        $state['rows'] = array_filter($state['rows'], 'is_array');
        return $state;
    }

    /** Under a lock, written beside and renamed: who reads meanwhile has the whole of the old or of the new. */
    private static function change(callable $work)
    {
        $folder = self::folder();
        $lock = $folder === null ? false : @fopen("$folder/lock.php", 'cb');
        if (!$lock || !flock($lock, LOCK_EX)) {
            return;
        }
        $state = $work(self::read($folder));
        $now = time();
        $state['known'] = array_slice(array_filter($state['known'], function ($at) use ($now) {
            return is_int($at) && $now - $at < self::KNOWN_S;
        }), -500, null, true);
        if (count($state['rows']) > self::KEPT) {
            // Those in force are the last to go, the rest by age: a flood of addresses frees nobody who is blocked.
            $blocked = array_filter($state['rows'], function ($row) use ($now) {
                return ($row['u'] ?? 0) > $now;
            });
            $others = array_diff_key($state['rows'], $blocked);
            $blocked = array_slice($blocked, -self::KEPT + 200, null, true);
            $state['rows'] = $blocked + array_slice($others, -(self::KEPT - count($blocked)), null, true);
        }
        $text = self::HEAD . json_encode($state, JSON_HEX_TAG | JSON_INVALID_UTF8_SUBSTITUTE);
        $part = "$folder/state.part.php";
        if (@file_put_contents($part, $text) === strlen($text)) {
            @rename($part, "$folder/state.php");
        }
        fclose($lock);
    }
}
