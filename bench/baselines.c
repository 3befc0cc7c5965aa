// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0

// The baselines in C: each the least that does the same job. A call that fails ends the program.
//
//   echo [ROS arguments]              answers each JointState with the same JointCommand
//   gather [ROS arguments]            every 20 ms takes all JointStates and Imus, and sends the same
//                                     JointCommand
//   sleep PERIOD_NS TURNS PRIORITY    sleeps until absolute deadlines; prints how many it missed,
//                                     then when each turn began, ns

#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <policy_msgs/msg/joint_command.h>
#include <rcl/error_handling.h>
#include <rcl/rcl.h>
#include <rosidl_runtime_c/primitives_sequence_functions.h>
#include <rosidl_runtime_c/string_functions.h>
#include <sensor_msgs/msg/imu.h>
#include <sensor_msgs/msg/joint_state.h>

enum { kJoints = 12 };
static volatile sig_atomic_t ends = 0;

static void end(int number) {
  (void)number;
  ends = 1;
}

static void check(bool is_good, const char* what) {
  if (is_good) return;
  fprintf(stderr, "%s failed: %s\n", what, rcl_get_error_string().str);
  exit(1);
}
#define OK(call) check((call) == RCL_RET_OK, #call)

static void fill(policy_msgs__msg__JointCommand* command) {
  check(policy_msgs__msg__JointCommand__init(command), "memory");
  command->mode = policy_msgs__msg__JointCommand__MODE_RUN;
  check(rosidl_runtime_c__String__Sequence__init(&command->names, kJoints), "memory");
  for (int joint = 0; joint < kJoints; ++joint) {
    char name[16];
    snprintf(name, sizeof name, "joint_%d", joint);
    check(rosidl_runtime_c__String__assign(&command->names.data[joint], name), "memory");
  }
  rosidl_runtime_c__double__Sequence* rows[] = {&command->position,  &command->velocity,
                                                &command->effort,    &command->stiffness,
                                                &command->damping,   &command->effort_limit};
  for (size_t row = 0; row < sizeof rows / sizeof *rows; ++row) {
    check(rosidl_runtime_c__double__Sequence__init(rows[row], kJoints), "memory");
  }
}

struct robot_node {
  rcl_context_t context;
  rcl_node_t node;
  rcl_publisher_t publisher;
  rcl_subscription_t joint_states, imu;
  sensor_msgs__msg__JointState joint_state;
  sensor_msgs__msg__Imu attitude;
  policy_msgs__msg__JointCommand command;
};

static void subscribe(struct robot_node* robot, rcl_subscription_t* subscription,
                      const rosidl_message_type_support_t* type, const char* topic) {
  rcl_subscription_options_t receiving = rcl_subscription_get_default_options();
  receiving.qos = rmw_qos_profile_sensor_data;
  *subscription = rcl_get_zero_initialized_subscription();
  OK(rcl_subscription_init(subscription, &robot->node, type, topic, &receiving));
}

static void open_node(struct robot_node* robot, int count, char** arguments) {
  rcl_init_options_t init = rcl_get_zero_initialized_init_options();
  OK(rcl_init_options_init(&init, rcl_get_default_allocator()));
  robot->context = rcl_get_zero_initialized_context();
  OK(rcl_init(count, (const char* const*)arguments, &init, &robot->context));
  robot->node = rcl_get_zero_initialized_node();
  rcl_node_options_t options = rcl_node_get_default_options();
  OK(rcl_node_init(&robot->node, "baseline", "", &robot->context, &options));
  rcl_publisher_options_t sending = rcl_publisher_get_default_options();
  sending.qos.depth = 1;
  robot->publisher = rcl_get_zero_initialized_publisher();
  OK(rcl_publisher_init(&robot->publisher, &robot->node,
                        ROSIDL_GET_MSG_TYPE_SUPPORT(policy_msgs, msg, JointCommand),
                        "joint_command", &sending));
  subscribe(robot, &robot->joint_states,
            ROSIDL_GET_MSG_TYPE_SUPPORT(sensor_msgs, msg, JointState), "joint_states");
  check(sensor_msgs__msg__JointState__init(&robot->joint_state), "memory");
  fill(&robot->command);
}

static void close_node(struct robot_node* robot) {
  OK(rcl_subscription_fini(&robot->joint_states, &robot->node));
  OK(rcl_publisher_fini(&robot->publisher, &robot->node));
  OK(rcl_node_fini(&robot->node));
  OK(rcl_shutdown(&robot->context));
}

static void echo(int count, char** arguments) {
  struct robot_node robot;
  open_node(&robot, count, arguments);
  rcl_wait_set_t waiting = rcl_get_zero_initialized_wait_set();
  OK(rcl_wait_set_init(&waiting, 1, 0, 0, 0, 0, 0, &robot.context, rcl_get_default_allocator()));
  while (!ends) {
    OK(rcl_wait_set_clear(&waiting));
    OK(rcl_wait_set_add_subscription(&waiting, &robot.joint_states, NULL));
    if (rcl_wait(&waiting, RCL_MS_TO_NS(100)) != RCL_RET_OK || !waiting.subscriptions[0]) continue;
    if (rcl_take(&robot.joint_states, &robot.joint_state, NULL, NULL) != RCL_RET_OK) continue;
    OK(rcl_publish(&robot.publisher, &robot.command, NULL));
  }
  OK(rcl_wait_set_fini(&waiting));
  close_node(&robot);
}

static void gather(int count, char** arguments) {
  struct robot_node robot;
  open_node(&robot, count, arguments);
  subscribe(&robot, &robot.imu, ROSIDL_GET_MSG_TYPE_SUPPORT(sensor_msgs, msg, Imu), "imu/data");
  check(sensor_msgs__msg__Imu__init(&robot.attitude), "memory");
  while (!ends) {
    const struct timespec period = {0, 20000000};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &period, NULL);
    while (rcl_take(&robot.joint_states, &robot.joint_state, NULL, NULL) == RCL_RET_OK) {
    }
    while (rcl_take(&robot.imu, &robot.attitude, NULL, NULL) == RCL_RET_OK) {
    }
    rcl_reset_error();
    OK(rcl_publish(&robot.publisher, &robot.command, NULL));
  }
  OK(rcl_subscription_fini(&robot.imu, &robot.node));
  close_node(&robot);
}

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void sleep_loop(int64_t period_ns, size_t turns, int priority) {
  const struct sched_param parameters = {.sched_priority = priority};
  check(!priority || !sched_setscheduler(0, SCHED_FIFO, &parameters), "SCHED_FIFO");
  int64_t* began_ns = malloc(turns * sizeof *began_ns);
  check(began_ns, "memory");
  memset(began_ns, 0, turns * sizeof *began_ns);
  int64_t deadline_ns = now_ns(), missed = 0;
  for (size_t turn = 0; turn < turns; ++turn) {
    deadline_ns += period_ns;
    const struct timespec until = {deadline_ns / 1000000000, deadline_ns % 1000000000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    began_ns[turn] = now_ns();
    const int64_t late = (began_ns[turn] - deadline_ns) / period_ns;
    missed += late;
    deadline_ns += late * period_ns;
  }
  printf("%" PRId64 "\n", missed);
  for (size_t turn = 0; turn < turns; ++turn) printf("%" PRId64 "\n", began_ns[turn]);
  free(began_ns);
}

int run_baseline(int count, char** arguments) {
  signal(SIGINT, end);
  if (count > 0 && !strcmp(arguments[0], "echo")) {
    echo(count, arguments);
  } else if (count > 0 && !strcmp(arguments[0], "gather")) {
    gather(count, arguments);
  } else if (count == 4 && !strcmp(arguments[0], "sleep")) {
    sleep_loop(atoll(arguments[1]), (size_t)atoll(arguments[2]), atoi(arguments[3]));
  } else {
    return 2;
  }
  fflush(stdout);
  return 0;
}
